"""CRI's limits as the runtime-spec's."""

import pytest
from cribus.api.cri.security import HugepageLimit, LinuxContainerResources
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager.host import Host
from cribus.manager.spec_resources import merged, of_pod, oom_score, resources

R = LinuxContainerResources


def test_all_of_them() -> None:
    asked = R(
        cpu_period=100000,
        cpu_quota=50000,
        cpu_shares=512,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        memory_limit_in_bytes=1 << 30,
        memory_swap_limit_in_bytes=2 << 30,
        hugepage_limits=[HugepageLimit(page_size="2MB", limit=4)],
        unified={"memory.high": "1"},
    )
    assert resources(asked, Host()) == {
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"},
        "memory": {"limit": 1 << 30, "swap": 2 << 30},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "unified": {"memory.high": "1"},
    }


def test_nothing_asked_nothing_set() -> None:
    assert resources(R(), Host()) == {}


def test_no_swapping_unless_asked_for() -> None:
    assert resources(R(memory_limit_in_bytes=5), Host()) == {"memory": {"limit": 5, "swap": 5}}
    assert resources(R(memory_limit_in_bytes=5), Host(swap=False)) == {"memory": {"limit": 5}}


@pytest.mark.parametrize(
    "asked",
    [
        R(memory_limit_in_bytes=10, memory_swap_limit_in_bytes=5),
        R(memory_limit_in_bytes=-2),
        R(cpu_shares=-1),
        R(oom_score_adj=1001),
    ],
)
def test_impossible_limits(asked: R) -> None:
    with pytest.raises(InvalidArgument):
        resources(asked, Host())


def test_what_the_host_lacks() -> None:
    with pytest.raises(FailedPrecondition, match="hugetlb"):
        resources(R(hugepage_limits=[HugepageLimit(page_size="2MB", limit=4)]), Host(hugetlb=False))
    assert resources(R(hugepage_limits=[HugepageLimit(page_size="2MB")]), Host(hugetlb=False)) == {}
    with pytest.raises(FailedPrecondition, match="cgroup v2"):
        resources(R(unified={"a": "b"}), Host(unified=False))


def test_an_update_changes_what_it_names() -> None:
    old = R(cpu_shares=100, memory_limit_in_bytes=5, unified={"a": "1", "b": "1"})
    new = merged(old, R(cpu_shares=200, unified={"a": "2"}))
    assert new == R(cpu_shares=200, memory_limit_in_bytes=5, unified={"a": "2", "b": "1"})


def test_oom_score() -> None:
    assert oom_score(R(oom_score_adj=-999), Host()) == -999
    assert oom_score(R(oom_score_adj=-999), Host(oom_score_floor=-500)) == -500


def test_a_pod_may_use_what_its_containers_may_and_its_overhead() -> None:
    overhead = LinuxContainerResources(cpu_shares=10, cpu_quota=5000, cpu_period=50_000, memory_limit_in_bytes=7)
    limits = LinuxContainerResources(cpu_shares=100, cpu_quota=20_000, cpu_period=100_000, memory_limit_in_bytes=1000)
    both = of_pod(limits, overhead)
    assert (both.cpu_shares, both.cpu_quota, both.cpu_period) == (110, 30_000, 100_000)
    assert both.memory_limit_in_bytes == 1007
    assert of_pod(None, overhead) == LinuxContainerResources()
    assert of_pod(limits, None) == limits
