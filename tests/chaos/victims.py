"""The processes of a node by what they are, as they are just now."""

import os
from pathlib import Path

from cribus.cli.supervisor import control
from cribus.config import Settings

from tests.harness import SERVICES, Node

FORK_SERVERS = ("executor", "shimd", "images")
NODE = (*SERVICES, *(f"{one} fork server" for one in FORK_SERVERS), "looks", "supervisord", "guard")
POD = ("shim", "keeper")


class Victims:
    """Finds them without asking any of them anything."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._settings = settings
        self._folder = node.run_dir / "supervisor"

    def pid(self, part: str, pod: str = "", container: str = "") -> int:
        """0 when there is none just now."""
        if part == "shim":
            return self._of_pod(pod)
        if part == "keeper":
            return self._keeper(container)
        if part == "supervisord":
            return int((self._folder / "supervisord.pid").read_text() or 0)
        if part == "guard":
            return _parent(self.pid("supervisord"))
        if part == "looks":
            return next((one for one in _children(self.pid("manager")) if b"manager.looks" in _command(one)), 0)
        if part.endswith("fork server"):
            return next((one for one in _children(self.pid(part.split()[0])) if _name(one) == "forkserver"), 0)
        return next((one.pid for one in control.programs(self._settings) if one.name == part), 0)

    def _of_pod(self, pod: str) -> int:
        return next((pid for pid in _all() if _name(pid) == f"shim:{pod[:10]}"), 0) if pod else 0

    def _keeper(self, container: str) -> int:
        """Who holds its descriptors now: its keeper, or one that stands in."""
        try:
            return self._node.holder(container) if container else 0
        except OSError:  # none, or not yet
            return 0

    def parked(self) -> list[int]:
        """The shim, the keeper and the maker of namespaces that were forked ahead; [] until all three wait."""
        shims = [one for one in _children(self.pid("shimd fork server")) if _name(one) == "shim"]
        others = [one for one in _children(self.pid("executor fork server")) if _name(one) == "forkserver"]
        return [*shims, *others] if len(shims) + len(others) == 3 else []

    def of_node(self) -> list[str]:
        """Every process that the node has started, in words without numbers; none of what runs in containers."""
        mark = f"CRIBUS_CONFIG={self._node.config}".encode()
        return sorted(_words(pid) for pid in _all() if pid != os.getpid() and mark in _environment(pid))


def _all() -> list[int]:
    return [int(one) for one in os.listdir("/proc") if one.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _name(pid: int) -> str:
    return _read(pid, "comm").decode(errors="replace").strip()


def _command(pid: int) -> bytes:
    return _read(pid, "cmdline").replace(b"\0", b" ")


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def _words(pid: int) -> str:
    return f"{_name(pid)}: {_command(pid).decode(errors='replace')}"


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _children(pid: int) -> list[int]:
    return [one for one in _all() if pid and _parent(one) == pid]
