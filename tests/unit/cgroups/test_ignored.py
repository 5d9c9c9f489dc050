from typing import Any

import pytest
from cribus.cgroups import ignored


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ({"memory": {"kernel": 1}}, "memory.kernel"),
        ({"memory": {"kernelTCP": 1}}, "memory.kernelTCP"),
        ({"memory": {"useHierarchy": False}}, "memory.useHierarchy"),
        ({"memory": {"limit": 5, "swap": 5}}, "memory.swap"),
    ],
)
def test_everywhere(resources: dict[str, Any], name: str) -> None:
    (told,) = ignored.everywhere(resources, unbounded=True)
    assert told.startswith(f"linux.resources.{name} is ignored: ")


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ({"memory": {"swappiness": 0}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 1}}, "cpu.realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 1}}, "cpu.realtimePeriod"),
        ({"network": {"classID": 1}}, "network.classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network.priorities"),
        ({"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight"),
        (
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
            "blockIO.weightDevice.leafWeight",
        ),
    ],
)
def test_on_v2(resources: dict[str, Any], name: str) -> None:
    (told,) = ignored.on_v2(resources)
    assert told.startswith(f"linux.resources.{name} is ignored: ")


def test_what_asks_for_nothing_is_not_told() -> None:
    """As runc's callers write it: empty structures, zeros, what holds anyway."""
    nothing: dict[str, Any] = {
        "memory": {"kernel": 0, "useHierarchy": True, "disableOOMKiller": False, "swap": -1, "limit": 0},
        "cpu": {"realtimeRuntime": 0},
        "network": {"classID": 0, "priorities": None},
        "blockIO": {"weightDevice": None},
    }
    for one in ({}, nothing):
        assert ignored.everywhere(one, unbounded=True) == ignored.on_v2(one) == []


def test_huge_pages_without_their_controller() -> None:
    asked = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 5}]}
    assert ignored.pages(asked, lambda size: True) == []
    (told,) = ignored.pages(asked, lambda size: False)  # one that is no 0 is refused
    assert "hugepageLimits.2MB" in told


@pytest.mark.parametrize(
    ("memory", "needless"), [({"limit": 5, "swap": 5}, True), ({"swap": -1}, True), ({"limit": 5, "swap": 6}, False)]
)
def test_swap(memory: dict[str, Any], needless: bool) -> None:
    assert ignored.no_swap_needed(memory) is needless
