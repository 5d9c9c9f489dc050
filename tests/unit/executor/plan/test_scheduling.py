"""Names of the runtime-spec as the kernel's numbers."""

from typing import Any

import pytest
from cribus.errors import InvalidArgument, Unimplemented
from cribus.executor.plan import scheduling


def test_nothing_is_nothing() -> None:
    assert scheduling.plan({}, {}) == {"scheduler": [], "io_priority": [], "memory_policy": [], "personality": -1}
    assert scheduling.affinity({}) == [[], []]


def test_everything() -> None:
    process: dict[str, Any] = {
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1,
            "deadline": 2,
            "period": 3,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
    }
    linux = {
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-2,5", "flags": ["MPOL_F_STATIC_NODES"]},
    }
    assert scheduling.plan(process, linux) == {
        "scheduler": [6, 2, [0, 0], [1, 2, 3]],
        "io_priority": [2, 3],
        "memory_policy": [2 | 1 << 15, [0, 1, 2, 5]],
        "personality": 8,
    }
    assert scheduling.affinity({"execCPUAffinity": {"initial": "0-2,5", "final": "1"}}) == [[0, 1, 2, 5], [1]]
    with pytest.raises(InvalidArgument, match="no list of CPUs"):
        scheduling.affinity({"execCPUAffinity": {"final": "x"}})


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SCHED_LAZY": ({"scheduler": {"policy": "SCHED_LAZY"}}, {}),
    "BATCH": ({"scheduler": {"policy": "BATCH"}}, {}),
    "SCHED_FLAG_NONE": ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"]}}, {}),
    "from 0 to 7": ({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}, {}),
    "MPOL_F_NONE": ({}, {"memoryPolicy": {"mode": "MPOL_BIND", "flags": ["MPOL_F_NONE"]}}),
    "list of nodes": ({}, {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-x"}}),
    "LINUX64": ({}, {"personality": {"domain": "LINUX64"}}),
    "has no policy": ({"scheduler": {"nice": 3}}, {}),
    "nice 20": ({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, {}),
    "priority is for": ({"scheduler": {"policy": "SCHED_OTHER", "priority": 2}}, {}),
    "deadline, period are for": ({"scheduler": {"policy": "SCHED_FIFO", "priority": 2, "period": 9}}, {}),
    "none of IOPRIO_CLASS": ({"ioPriority": {"priority": 2}}, {}),
    "none of MPOL_": ({}, {"memoryPolicy": {"nodes": "0"}}),
    "4096": ({}, {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "4096"}}),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_does_not_exist(sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        scheduling.plan(*WRONG[sentence])


def test_flags_of_a_personality() -> None:
    with pytest.raises(Unimplemented, match="leave them out"):
        scheduling.plan({}, {"personality": {"domain": "LINUX", "flags": ["X"]}})
