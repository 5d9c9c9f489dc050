from pathlib import Path

import pytest
from cribus.cgroups import control, stats
from cribus.cgroups.layout import Tree
from cribus.cgroups.v1 import V1
from cribus.cgroups.v2 import V2

from tests.unit.cgroups.conftest import NAME, Members


def test_usage_of_a_real_process(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/pod/c"
    tree.create(path)
    tree.apply(path, {"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    child = members.start(tree, path, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo x; sleep 60")
    assert child.stdout is not None
    child.stdout.readline()
    seen = stats.read(tree, path)
    assert seen.cpu_ns > 1_000_000
    assert 0 < seen.memory.working_set <= seen.memory.usage < 64 << 20
    assert seen.memory.limit == 64 << 20
    assert seen.memory.page_faults > 0
    assert seen.pids >= 1
    assert stats.read(tree, f"/{NAME}/pod").pids == seen.pids


def test_a_cgroup_that_is_gone_uses_nothing(tree: Tree) -> None:
    assert stats.read(tree, f"/{NAME}/none").cpu_ns == 0


def test_v2_files(tmp_path: Path) -> None:
    for name, text in {
        "cpu.stat": "usage_usec 5\n",
        "memory.current": "1000\n",
        "memory.max": "max\n",
        "memory.stat": "anon 300\ninactive_file 200\npgfault 9\npgmajfault 1\n",
        "memory.swap.current": "40\n",
        "memory.swap.max": "100\n",
        "pids.current": "3\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0\n8:16 rbytes=5 wbytes=0 rios=1 wios=0\n",
        "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n",
    }.items():
        (tmp_path / name).write_text(text)
    seen = stats.read(V2("cgroupfs", "cribus", str(tmp_path)), "")
    assert (seen.cpu_ns, seen.memory.working_set, seen.memory.rss, seen.memory.limit) == (5000, 800, 300, 0)
    assert (seen.swap, seen.swap_limit, seen.pids) == (40, 100, 3)
    assert (seen.io.read_bytes, seen.io.writes) == (15, 2)
    some = seen.psi["cpu"].some
    assert some is not None
    assert (some.avg10, some.total) == (1.5, 77)
    assert seen.psi["cpu"].full is None


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("max", None), ("", None)])
def test_no_swap_is_a_limit_too(text: str, limit: int | None, tmp_path: Path) -> None:
    (tmp_path / "memory.swap.current").write_text("0\n")
    (tmp_path / "memory.swap.max").write_text(text)
    assert stats.read(V2("cgroupfs", "cribus", str(tmp_path)), "").swap_limit == limit


def test_no_swap_is_a_limit_on_v1(tmp_path: Path) -> None:
    for name, text in {
        "memory.usage_in_bytes": "70", "memory.limit_in_bytes": "100",
        "memory.memsw.usage_in_bytes": "70", "memory.memsw.limit_in_bytes": "100",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    v1 = V1("cgroupfs", "cribus", {"memory": str(tmp_path)})
    assert stats.read(v1, "").swap_limit == 0
    (tmp_path / "memory.memsw.limit_in_bytes").write_text(str(control.UNLIMITED_V1))
    assert stats.read(v1, "").swap_limit is None
