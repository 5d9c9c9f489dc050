"""One of the two runtimes of a comparison, as the bench sees it: a socket, folders, and the processes it costs."""

import os
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

MARK = "CRIBUS_BENCH"  # in the environment of a runtime's first process, and so in that of all it starts
WORKLOAD = "987654321"  # seconds that a container of the bench sleeps: known by it in /proc
_TICKS = os.sysconf("SC_CLK_TCK")


class Side(ABC):
    """`base` is an empty folder for everything it writes, `state` one for what no boot outlives: a tmpfs, as /run
    is where systemd boots, also where this machine has none. `tag` names it in /proc and in cgroups."""

    name = ""

    def __init__(self, base: Path, state: Path, socket: Path) -> None:
        self.base = base
        self.state = state
        self.tag = f"crbb{os.getpid()}{self.name}"
        self.cgroup = f"/{self.tag}"
        self.endpoint = f"unix://{socket}"
        self.nri = base / "nri.sock"
        self.logs = base / "logs"
        self.logs.mkdir(parents=True)

    @abstractmethod
    def start(self) -> None:
        """Start it; returns when the socket answers."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it and leave nothing behind."""

    def mount_state(self) -> None:
        self.state.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", self.tag, str(self.state)], check=True)

    def unmount_state(self) -> None:
        if self.state.is_mount():
            subprocess.run(["umount", str(self.state)], check=True)

    def processes(self) -> list[int]:
        """Every process that the runtime costs: what it started, whoever its parent is now, and what it
        put beside the workload in a pod's cgroup. Never the workload itself."""
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if self._owns(folder)]

    def _owns(self, folder: Path) -> bool:
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes().split(b"\0")
            cgroup = (folder / "cgroup").read_text()
        except OSError:
            return False
        mine = f"{MARK}={self.tag}".encode() in environment or self.tag in cgroup or self.tag.encode() in command
        # A kernel thread or a zombie has no command line; neither has memory.
        return mine and bool(command) and WORKLOAD.encode() not in command and folder.name != str(os.getpid())

    def pss(self) -> int:
        """Bytes of memory that these processes hold, shared pages divided among their users."""
        total = 0
        for pid in self.processes():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total * 1024

    def cpu(self) -> float:
        """CPU seconds that these processes, and their children that ended, have used so far."""
        ticks = 0
        for pid in self.processes():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
        return ticks / _TICKS

    def forget_cgroups(self) -> None:
        """Remove the cgroups of the bench's pods where they were left."""
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            top = hierarchy / self.tag
            if top.is_dir():
                for folder in sorted(top.rglob("*"), key=lambda path: -len(path.parts)):
                    if folder.is_dir():
                        folder.rmdir()
                top.rmdir()
