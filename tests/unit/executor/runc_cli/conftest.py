"""A container of the command line that is one only on paper."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cribus.cgroups.tree import Tree
from cribus.executor.runc_cli import box as boxes
from cribus.executor.runc_cli.box import Box
from cribus.linux import process


class NoCgroups(Tree):
    """A hierarchy in which there is nothing, and that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__("cgroupfs", "x")
        self.told: list[tuple[str, Any]] = []
        self.cold = False

    def pids(self, path: str) -> list[int]:
        return []

    def directories(self, path: str) -> list[str]:
        return []

    def join_self_paths(self, path: str) -> list[str]:
        return []

    def frozen(self, path: str) -> bool:
        return self.cold

    def freeze(self, path: str, seconds: float = 1) -> None:
        self.cold = True

    def thaw(self, path: str) -> None:
        self.cold = False

    def kill(self, path: str) -> None:
        self.told.append(("kill", path))

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        self.told.append(("apply", resources))

    def ignored(self, path: str, resources: dict[str, Any]) -> list[str]:
        return ["pids are ignored"] if resources.get("pids", {}).get("limit") == 1 else []

    def change(self, path: str, resources: dict[str, Any]) -> None:
        self.told.append(("change", resources))


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> NoCgroups:
    one = NoCgroups()
    monkeypatch.setattr(boxes, "_tree", lambda systemd: one)
    return one


Make = Callable[..., Box]


@pytest.fixture
def make(tmp_path: Path, tree: NoCgroups) -> Make:
    """A box with this pid and document."""

    def made(id: str = "c", pid: int = 0, **spec: Any) -> Box:
        bundle = tmp_path / "bundle"
        bundle.mkdir(exist_ok=True)
        (bundle / "config.json").write_text(json.dumps({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, **spec}))
        box = Box(str(tmp_path / "root"), id)
        box.make(str(bundle), False)
        if pid:
            box.save({**box.known(), "pid": pid, "started": process.start_time(pid)})
        return box

    return made


@pytest.fixture
def sleeper() -> Any:
    """A process to be killed."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ)
    yield pid
    try:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return
