import subprocess
import sys
from pathlib import Path

from cribus.cgroups import oom
from cribus.cgroups.layout import Tree

from tests.unit.cgroups.conftest import NAME, Members


def test_v1_and_v2_files(tmp_path: Path) -> None:
    (tmp_path / "memory" / "a").mkdir(parents=True)
    (tmp_path / "memory" / "a" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert oom.oom_kills("/a", str(tmp_path)) == 2
    assert oom.killed("/b", str(tmp_path))
    assert oom.oom_kills("/c", str(tmp_path)) == 0


def test_a_real_kill_is_counted(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/c"
    tree.create(path)
    tree.apply(path, {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert not oom.killed(path)
    eater = members.start(tree, path, sys.executable, "-c", "bytearray(64 << 20)")
    assert eater.wait(10) == -9
    assert oom.killed(path)


def test_it_is_light() -> None:
    code = "import sys; before = set(sys.modules); import cribus.cgroups.oom; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["cribus", "cribus.cgroups", "cribus.cgroups.oom"]


def test_the_tree_loads_nothing_heavy() -> None:
    code = "import sys; import cribus.cgroups.layout; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "typing", "dataclasses", "json", "re", "logging", "msgspec"} & set(loaded)
