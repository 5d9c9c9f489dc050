from pathlib import Path
from typing import Any

import pytest
from cribus.cgroups import systemd
from cribus.cgroups.layout import Tree
from cribus.cgroups.v1 import V1
from cribus.errors import InvalidArgument, Unimplemented

from tests.unit.cgroups.conftest import NAME

PATH = f"/{NAME}/c"


@pytest.fixture
def v1(tree: Tree) -> V1:
    if not isinstance(tree, V1):
        pytest.skip("this host has cgroup v2")
    tree.create(PATH)
    return tree


def text(tree: V1, controller: str, name: str) -> str:
    return Path(f"{tree.mounts[controller]}{PATH}/{name}").read_text().strip()


def test_a_new_cpuset_is_its_parents(v1: V1) -> None:
    assert text(v1, "cpuset", "cpuset.cpus") == Path(f"{v1.mounts['cpuset']}/cpuset.cpus").read_text().strip()
    assert text(v1, "cpuset", "cpuset.mems")


def test_joining_is_by_tasks_in_every_hierarchy(v1: V1) -> None:
    files = v1.join_self_paths(PATH)
    assert len(files) == len(set(v1.mounts.values()))
    assert all(file.endswith(f"{PATH}/tasks") for file in files)


def test_cpu_and_pids(v1: V1) -> None:
    v1.apply(PATH, {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"}, "pids": {"limit": 7}})
    assert text(v1, "cpu", "cpu.shares") == "512"
    assert text(v1, "cpu", "cpu.cfs_quota_us") == "50000"
    assert text(v1, "cpuset", "cpuset.cpus") == "0"
    assert text(v1, "pids", "pids.max") == "7"
    v1.apply(PATH, {"pids": {"limit": -1}})
    assert text(v1, "pids", "pids.max") == "max"
    v1.apply(PATH, {"pids": {"limit": 0}})  # a limit as others are
    assert text(v1, "pids", "pids.max") == "1"


def test_what_systemd_must_be_told(v1: V1) -> None:
    v1.apply(PATH, {"memory": {"limit": 1 << 24}, "cpu": {"shares": 512, "quota": 5000, "period": 10000}})
    told = {name: value for name, _, value in v1.limits(PATH)}
    assert told == {
        "MemoryLimit": 1 << 24, "CPUShares": 512, "CPUQuotaPerSecUSec": 500_000, "CPUQuotaPeriodUSec": 10_000,
        "TasksMax": systemd.INFINITY,
    }  # fmt: skip


def test_quota_and_burst_move_both_ways(v1: V1) -> None:
    v1.apply(PATH, {"cpu": {"quota": 90000, "period": 100000, "burst": 80000}})
    v1.apply(PATH, {"cpu": {"quota": 20000, "period": 100000, "burst": 10000}})
    assert text(v1, "cpu", "cpu.cfs_burst_us") == "10000"
    v1.apply(PATH, {"cpu": {"burst": 0}})
    assert text(v1, "cpu", "cpu.cfs_burst_us") == "0"
    v1.apply(PATH, {"cpu": {"quota": -1}})
    assert text(v1, "cpu", "cpu.cfs_quota_us") == "-1"


def test_idle_has_no_shares(v1: V1) -> None:
    v1.apply(PATH, {"cpu": {"idle": 1, "shares": 512}})
    assert text(v1, "cpu", "cpu.idle") == "1"
    v1.apply(PATH, {"cpu": {"idle": 0, "shares": 512}})
    assert text(v1, "cpu", "cpu.shares") == "512"


@pytest.mark.parametrize("megabytes", [[32, 64, 16], [64, 16, 32]])
def test_memory_with_swap_goes_up_and_down(v1: V1, megabytes: list[int]) -> None:
    for size in megabytes:
        v1.apply(PATH, {"memory": {"limit": size << 20, "swap": size << 20, "reservation": size << 19}})
        assert text(v1, "memory", "memory.limit_in_bytes") == str(size << 20)
    v1.apply(PATH, {"memory": {"limit": -1}})
    assert int(text(v1, "memory", "memory.limit_in_bytes")) > 1 << 50
    v1.apply(PATH, {"memory": {"disableOOMKiller": True}})
    assert "oom_kill_disable 1" in text(v1, "memory", "memory.oom_control")


def test_devices_are_played_in_order(v1: V1) -> None:
    v1.apply(
        PATH,
        {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "rw"}]},
    )
    assert text(v1, "devices", "devices.list") == "c 1:* rw"


def test_what_the_kernel_refuses_is_a_sentence(v1: V1) -> None:
    with pytest.raises(InvalidArgument, match=r"refuses '99' for cpuset\.cpus"):
        v1.apply(PATH, {"cpu": {"cpus": "99"}})
    with pytest.raises(InvalidArgument, match="needs cgroup v2"):
        v1.apply(PATH, {"unified": {"memory.high": "1"}})


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ({"cpu": {"shares": 1}}, "cpu.shares 1 is not from 2 to 262144"),
        ({"cpu": {"shares": 262145}}, "cpu.shares 262145"),
        ({"memory": {"swappiness": 101}}, "memory.swappiness 101 is not from 0 to 100"),
    ],
)
def test_what_the_kernel_would_bend(v1: V1, resources: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        v1.apply(PATH, resources)


@pytest.fixture
def paper(tmp_path: Path) -> V1:
    """Hierarchies of plain files, those of an older kernel without swap accounting."""
    for name in ("blkio.leaf_weight", "blkio.leaf_weight_device", "hugetlb.2MB.limit_in_bytes"):
        (tmp_path / name).write_text("")
    for name in ("hugetlb.2MB.rsvd.limit_in_bytes", "memory.limit_in_bytes"):
        (tmp_path / name).write_text("")
    return V1("cgroupfs", "cribus", dict.fromkeys(("blkio", "memory", "hugetlb"), str(tmp_path)))


def test_leaf_weights(paper: V1, v1: V1) -> None:
    asked = {"blockIO": {"leafWeight": 20, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 30}]}}
    paper.apply("", asked)
    folder = Path(paper.mounts["blkio"])
    assert (folder / "blkio.leaf_weight").read_text() == "20"
    assert (folder / "blkio.leaf_weight_device").read_text() == "8:0 30"
    if not Path(v1.mounts["blkio"], "blkio.leaf_weight").exists():
        with pytest.raises(Unimplemented, match=r"blockIO\.leafWeight: this kernel has no"):
            v1.apply(PATH, asked)


def test_huge_pages_are_limited_when_reserved_too(paper: V1) -> None:
    paper.apply("", {"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}]})
    for name in ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"):
        assert Path(paper.mounts["hugetlb"], name).read_text() == str(1 << 21)


def test_without_accounting_of_swap(paper: V1) -> None:
    """What leaves no swap, or all, can be left out: callers give it by default."""
    for swap in (-1, 1 << 20):
        paper.apply("", {"memory": {"limit": 1 << 20, "swap": swap}})
    assert len(paper.ignored("", {"memory": {"limit": 1 << 20, "swap": 1 << 20}})) == 1
    with pytest.raises(Unimplemented, match=r"memory\.swap"):
        paper.apply("", {"memory": {"limit": 1 << 20, "swap": 1 << 21}})


def test_kernel_memory_is_told_and_not_set(v1: V1) -> None:
    asked = {"memory": {"kernel": 1 << 20, "kernelTCP": 1 << 20, "useHierarchy": True, "checkBeforeUpdate": True}}
    before = text(v1, "memory", "memory.kmem.tcp.limit_in_bytes")
    v1.apply(PATH, asked)
    assert text(v1, "memory", "memory.kmem.tcp.limit_in_bytes") == before
    assert [told.split()[0] for told in v1.ignored(PATH, asked)] == [
        "linux.resources.memory.kernel",
        "linux.resources.memory.kernelTCP",
    ]


def test_a_hierarchy_that_is_not_mounted(v1: V1) -> None:
    none = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    v1.apply(PATH, none)
    if "hugetlb" not in v1.mounts:
        assert len(v1.ignored(PATH, none)) == 1
        with pytest.raises(Unimplemented, match="hugetlb"):
            v1.apply(PATH, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})
    if "net_cls" not in v1.mounts:
        with pytest.raises(Unimplemented, match="net_cls"):
            v1.apply(PATH, {"network": {"classID": 1}})


def test_throttling(v1: V1) -> None:
    device = Path("/sys/block").iterdir()
    major, minor = (int(part) for part in (next(device) / "dev").read_text().split(":"))
    v1.apply(PATH, {"blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]}})
    assert text(v1, "blkio", "blkio.throttle.read_bps_device") == f"{major}:{minor} {1 << 20}"


def test_what_an_outside_runtime_makes_in_a_v2_tree_beside_goes_too(tmp_path: Path) -> None:
    v1 = V1("cgroupfs", "root", {"pids": str(tmp_path / "pids")}, str(tmp_path / "unified"))
    (tmp_path / "unified" / "pod" / "c").mkdir(parents=True)
    assert v1.strangers("/pod") == [f"{tmp_path}/unified/pod"]
    v1.delete("/pod")
    assert list((tmp_path / "unified").iterdir()) == []
