"""Resources there and back."""

import pytest
from cribus.api.cri.security import HugepageLimit, LinuxContainerResources
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri import resources

CRI = LinuxContainerResources(
    cpu_period=100000,
    cpu_quota=50000,
    cpu_shares=512,
    memory_limit_in_bytes=1 << 20,
    memory_swap_limit_in_bytes=2 << 20,
    cpuset_cpus="0",
    cpuset_mems="0",
    hugepage_limits=[HugepageLimit(page_size="2MB", limit=4)],
    unified={"memory.high": "5"},
)


def test_what_cri_says_comes_back() -> None:
    assert resources.to_cri(resources.of_cri(CRI)) == (CRI, {})


def test_what_is_zero_in_cri_is_not_given() -> None:
    assert resources.of_cri(None) is None
    assert resources.of_cri(LinuxContainerResources()) == m.Resources(memory=m.Memory(), cpu=m.Cpu())


def test_what_cri_has_no_words_for_goes_beside_it() -> None:
    given = m.Resources(
        memory=m.Memory(limit=5, reservation=3, swappiness=0, kernel=9),
        cpu=m.Cpu(realtimeRuntime=7),
        pids=m.Pids(limit=10),
        devices=[m.DeviceRule(allow=False, type="c", major=0, access="w")],
    )
    told, extra = resources.to_cri(given)
    assert told == LinuxContainerResources(memory_limit_in_bytes=5)
    assert extra == {
        "memory": {"reservation": 3, "swappiness": 0},
        "cpu": {"realtimeRuntime": 7},
        "pids": {"limit": 10},
        "devices": [{"allow": False, "type": "c", "major": 0, "access": "w"}],
    }


def test_no_limit_of_processes_is_one_below_zero() -> None:
    assert resources.to_cri(m.Resources(pids=m.Pids()))[1] == {"pids": {"limit": -1}}


def test_a_class_of_block_io_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="gold"):
        resources.to_cri(m.Resources(blockio_class="gold"))
