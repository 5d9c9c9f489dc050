import subprocess
from pathlib import Path

import pytest
from cribus.cgroups import systemd
from cribus.cgroups.layout import Tree
from cribus.cgroups.v2 import V2, io_weight, swap_max, weight_of_shares
from cribus.errors import FailedPrecondition, InvalidArgument, Unimplemented

from tests.unit.cgroups.conftest import NAME, Members

FILES = (
    "cpu.weight cpu.max cpu.max.burst cpu.idle memory.max memory.low memory.swap.max pids.max io.weight io.max "
    "hugetlb.2MB.max cpuset.cpus memory.high"
)


@pytest.fixture
def paper(tmp_path: Path) -> V2:
    """A tree of plain files, which shows what would be written."""
    (tmp_path / "c").mkdir()
    for name in FILES.split():
        (tmp_path / "c" / name).write_text("")
    (tmp_path / "c" / "cpu.max").write_text("max 100000\n")
    return V2("cgroupfs", "cribus", str(tmp_path))


def test_what_systemd_must_be_told(paper: V2) -> None:
    """Every file that systemd writes of a unit it takes over; it had set memory.max to max and cpu.weight to 100."""
    directory = Path(f"{paper.mount}/c")
    (directory / "io.weight").write_text("default 300\n8:0 200")
    (directory / "memory.high").write_text("max")
    (directory / "cpuset.cpus").write_text("0-1")
    paper.apply("/c", {"memory": {"limit": 4096}, "cpu": {"shares": 2, "quota": 5000}, "pids": {"limit": 9}})
    told = {name: value for name, _, value in paper.limits("/c")}
    assert told == {
        "MemoryMax": 4096, "MemoryHigh": systemd.INFINITY, "CPUWeight": 1, "CPUQuotaPerSecUSec": 50_000,
        "CPUQuotaPeriodUSec": 100_000, "TasksMax": 9, "IOWeight": 300, "AllowedCPUs": b"\3",
    }  # fmt: skip


def written(tree: V2, name: str) -> str:
    return Path(f"{tree.mount}/c/{name}").read_text().strip()


def test_conversions() -> None:
    assert [weight_of_shares(shares) for shares in (2, 1024, 262144)] == [1, 100, 10000]
    assert [io_weight(weight) for weight in (10, 1000)] == [1, 10000]


@pytest.mark.parametrize(
    ("limit", "swap", "wanted"),
    [(100, 100, "0"), (100, 150, "50"), (100, -1, "max"), (-1, 0, "max"), (100, 0, ""), (0, 0, "")],
)
def test_swap_is_apart_from_memory(limit: int, swap: int, wanted: str) -> None:
    assert swap_max(limit, swap) == wanted


@pytest.mark.parametrize(("limit", "swap"), [(0, 100), (200, 100)])
def test_swap_that_cannot_be(limit: int, swap: int) -> None:
    with pytest.raises(InvalidArgument, match="together"):
        swap_max(limit, swap)


def test_a_limit_below_what_is_in_use(paper: V2) -> None:
    (Path(paper.mount) / "c" / "memory.current").write_text("5000\n")
    for name, memory in (("limit", {"limit": 4096}), ("swap", {"limit": 8192, "swap": 5000})):
        asked = {"memory": {**memory, "checkBeforeUpdate": True}}
        with pytest.raises((FailedPrecondition, InvalidArgument), match=rf"memory\.{name}"):
            paper.apply("/c", asked)
    paper.apply("/c", {"memory": {"limit": 5001, "checkBeforeUpdate": True}})
    paper.apply("/c", {"memory": {"limit": 4096}})
    assert written(paper, "memory.max") == "4096"


def test_without_accounting_of_swap(paper: V2) -> None:
    (Path(paper.mount) / "c" / "memory.swap.max").unlink()
    for swap in (-1, 4096):
        paper.apply("/c", {"memory": {"limit": 4096, "swap": swap}})
    assert len(paper.ignored("/c", {"memory": {"limit": 4096, "swap": 4096}})) == 1
    with pytest.raises(Unimplemented, match=r"memory\.swap"):
        paper.apply("/c", {"memory": {"limit": 4096, "swap": 8192}})


def test_what_only_v1_has_is_told(paper: V2) -> None:
    asked = {"memory": {"swappiness": 1, "kernel": 1}, "network": {"classID": 1}, "pids": {"limit": 3}}
    told = [text.split()[0].removeprefix("linux.resources.") for text in paper.ignored("/c", asked)]
    assert told == ["memory.kernel", "memory.swappiness", "network.classID"]


def test_cpu(paper: V2) -> None:
    paper.apply("/c", {"cpu": {"shares": 1024, "quota": 50000, "burst": 1000, "cpus": "0-1"}})
    assert written(paper, "cpu.weight") == "100"
    assert written(paper, "cpu.max").startswith("50000 100000")
    assert written(paper, "cpu.max.burst") == "1000"
    assert written(paper, "cpuset.cpus") == "0-1"


def test_memory_pids_and_pages(paper: V2) -> None:
    paper.apply(
        "/c",
        {
            "memory": {"limit": 100, "swap": 150, "reservation": 50},
            "pids": {"limit": -1},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4}, {"pageSize": "1GB", "limit": 0}],
        },
    )
    names = ("memory.max", "memory.swap.max", "memory.low", "pids.max", "hugetlb.2MB.max")
    assert [written(paper, name) for name in names] == ["100", "50", "50", "max", "4"]


def test_io(paper: V2) -> None:
    paper.apply("/c", {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 9}]}})
    assert written(paper, "io.max") == "8:0 wiops=9"
    paper.apply("/c", {"blockIO": {"weight": 10}})
    assert written(paper, "io.weight") == "default 1"


def test_unified(paper: V2) -> None:
    paper.apply("/c", {"unified": {"memory.high": "77"}})
    assert written(paper, "memory.high") == "77"
    (Path(paper.mount) / "c" / "cgroup.max.depth").write_text("")
    paper.apply("/c", {"unified": {"cgroup.max.depth": "3"}})
    assert written(paper, "cgroup.max.depth") == "3"
    for name in ("../x", "cgroup.procs", "cgroup.kill"):
        with pytest.raises(InvalidArgument):
            paper.apply("/c", {"unified": {name: "1"}})


def test_freeze_kill_and_delete(unified: Tree, members: Members) -> None:
    path = f"/{NAME}/pod/c"
    unified.create(path)
    child = members.start(unified, path, "sleep", "60")
    assert unified.pids(f"/{NAME}/pod") == [child.pid]
    unified.freeze(path)
    assert unified.frozen(path)
    unified.kill(f"/{NAME}")
    assert child.wait(5) == -9
    unified.delete(f"/{NAME}/pod")
    assert not unified.exists(f"/{NAME}/pod")


def test_killing_without_cgroup_kill(unified: Tree, members: Members) -> None:
    assert isinstance(unified, V2)
    path = f"/{NAME}/c"
    unified.create(path)
    child = members.start(unified, path, "sleep", "60")
    unified._kill_one_by_one(path)
    assert child.wait(5) == -9


def test_devices_by_program(unified: Tree, members: Members) -> None:
    """null may be read and written, zero not at all, random not written."""
    path = f"/{NAME}/c"
    unified.create(path)
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "r"},
    ]
    for _ in range(2):  # the second time in place of the first
        unified.apply(path, {"devices": rules})
        script = "true >/dev/null; true </dev/random; for f in zero random; do (: >>/dev/$f) || echo no $f; done"
        shell = members.start(unified, path, "sh", "-c", f"exec 2>&1; {script}")
        assert shell.communicate()[0].count(b"no ") == 2
    unified.apply(path, {"devices": [{"allow": True, "access": "rwm"}]})
    assert members.start(unified, path, "sh", "-c", ": >>/dev/zero").wait(5) == 0
    assert subprocess.run(["sh", "-c", ": </dev/zero"]).returncode == 0
