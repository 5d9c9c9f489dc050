"""What can be killed of each side, how it comes back, and what a pod that has gone has left there."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

from cribus import config
from cribus.cli.storm import victims
from cribus.cli.storm.plan import WEIGHTS

from tests.bench.node import Cribus
from tests.bench.peer import BRIDGE, Containerd
from tests.bench.side import Side
from tests.harness import until


class Target:
    """`kinds` are its processes; `shared` those without which no pod's calls work."""

    kinds: tuple[str, ...] = ()

    def __init__(self, side: Side, bridge: str, addresses: Path) -> None:
        self.side = side
        self._bridge = bridge
        self._addresses = addresses

    def pid(self, kind: str, pod: str, container: str) -> int:
        """0 when there is none."""
        raise NotImplementedError

    def kill(self, kind: str, pod: str, container: str) -> None:
        """SIGKILL, and wait until it is dead."""
        pid = self.pid(kind, pod, container)
        assert pid, f"there is no {kind}"
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            until(lambda: not _alive(pid), 10, f"{kind} is dead")
        finally:
            os.close(pidfd)
        self.revive(kind)

    def revive(self, kind: str) -> None:
        """Start it again where the runtime relies on somebody else for that."""

    def present(self) -> Counter[str]:
        """Everything on the host that is this side's, in words without numbers that change."""
        found = [f"process {_comm(pid)}" for pid in self.side.processes()]
        found += [f"mount {one}" for one in self._mounts()]
        found += [f"cgroup {one}" for one in Path("/sys/fs/cgroup").glob(f"*/{self.side.tag}/**/") if one.is_dir()]
        found += [f"link {one.name}" for one in Path(f"/sys/class/net/{self._bridge}/brif").glob("*")]
        found += [f"address {one.name}" for one in self._addresses.glob("**/[0-9]*")]
        found += [f"netns {one.name}" for one in Path("/run/netns").glob("*")]
        return Counter(found)

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if self.side.tag in line or str(self.side.base) in line]


class CribusTarget(Target):
    kinds = tuple(WEIGHTS)

    def __init__(self, side: Cribus) -> None:
        os.environ["CRIBUS_CONFIG"] = str(side.node.config)
        self._settings = config.load()
        super().__init__(side, side.tag, side.node.root / "network" / "addresses")

    def pid(self, kind: str, pod: str, container: str) -> int:
        found = victims.find(self._settings, kind, victims.Own(pod, container))
        if found is None:
            return 0
        found.close()
        return found.pid


class ContainerdTarget(Target):
    """Its shims nobody starts again; the daemon is started again at once, where its unit waits five seconds."""

    kinds = ("shim", "daemon")

    def __init__(self, side: Containerd) -> None:
        self._side = side
        super().__init__(side, BRIDGE, side.base / "addresses")

    def pid(self, kind: str, pod: str, container: str) -> int:
        if kind == "daemon":
            return self._side.pid
        for folder in Path("/proc").glob("[0-9]*"):
            words = _read(folder / "cmdline").split(b"\0")
            if b"containerd-shim-runc-v2" in words[0] and pod.encode() in words:
                return int(folder.name)
        return 0

    def revive(self, kind: str) -> None:
        if kind == "daemon":
            self._side.launch()


def target(side: Side) -> Target:
    if isinstance(side, Cribus):
        return CribusTarget(side)
    assert isinstance(side, Containerd)
    return ContainerdTarget(side)


def left(before: Counter[str], now: Counter[str]) -> list[str]:
    """What there is more of now. A process that was forked ahead and waits is no leak: that is one of its kind."""
    more = now - before
    ahead = {"process shim", "process keeper", "process pause", "process python3", "process forkserver"}
    return sorted(
        f"{one} x{count}" if count > 1 else one for one, count in more.items() if one not in ahead or count > 1
    )


def _alive(pid: int) -> bool:
    return _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def _comm(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/comm")).decode(errors="replace").strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def running(mark: str) -> bool:
    """Whether a process with this word in its command line lives."""
    argv = ["pgrep", "-f", mark]
    return subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode == 0
