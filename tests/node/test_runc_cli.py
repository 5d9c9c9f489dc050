"""`cribus-oci` beside runc: the same commands with the same ends."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import outside

OURS = [sys.executable, "-m", "cribus.executor.runc_cli"]
PROGRAMS = {"cribus-oci": OURS, "runc": [outside.RUNC]}


class Cli:
    """One program, a root of its own and a bundle with busybox."""

    def __init__(self, argv: list[str], base: Path) -> None:
        self.argv = [*argv, "--root", str(base / "root"), "--log", str(base / "log"), "--log-format", "json"]
        self.bundle = base / "bundle"
        self.log = base / "log"
        self.name = f"crbcli{os.getpid()}"
        (self.bundle / "rootfs" / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", self.bundle / "rootfs" / "bin" / "busybox")
        for applet in ("sh", "cat", "sleep", "echo", "tty", "true", "ls", "id", "ip"):
            os.symlink("busybox", self.bundle / "rootfs" / "bin" / applet)
        self.try_("spec", "--bundle", str(self.bundle)).check_returncode()

    def spec(self, *args: str, **more: Any) -> None:
        path = self.bundle / "config.json"
        made = json.loads(path.read_text())
        made["process"] |= {"args": list(args), "terminal": False, **more}
        made["process"].pop("rlimits", None)
        made["linux"]["cgroupsPath"] = f"/{self.name}/c"
        path.write_text(json.dumps(made))

    def try_(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 30}
        return subprocess.run([*self.argv, *words], **{**how, **more}, check=False)

    def do(self, *words: str, **more: Any) -> str:
        done = self.try_(*words, **more)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def status(self) -> str:
        return str(json.loads(self.do("state", "c"))["status"])

    def create(self, *words: str) -> int:
        """Its output goes nowhere: a pipe of ours would stay open in it."""
        null = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": None}
        self.do("create", "--bundle", str(self.bundle), "--pid-file", str(self.bundle / "pid"), *words, "c", **null)
        return int((self.bundle / "pid").read_text())


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that root of a user namespace may pass through."""
    with tempfile.TemporaryDirectory(prefix="crbcli", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(params=PROGRAMS)
def cli(request: pytest.FixtureRequest, base: Path) -> Iterator[Cli]:
    one = Cli(PROGRAMS[request.param], base)
    yield one
    one.do("delete", "--force", "c")
    assert list(Path("/sys/fs/cgroup").glob(f"*/{one.name}/c")) == []
    for folder in Path("/sys/fs/cgroup").glob(f"*/{one.name}"):
        folder.rmdir()
    assert not list((base / "root").glob("*"))


def ended(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


def test_a_life(cli: Cli) -> None:
    cli.spec("sleep", "100")
    pid = cli.create()
    state = json.loads(cli.do("state", "c"))
    assert (state["status"], state["pid"], state["bundle"]) == ("created", pid, str(cli.bundle))
    again = cli.try_("create", "--bundle", str(cli.bundle), "c")
    assert again.returncode != 0
    assert "exists" in again.stderr
    cli.do("start", "c")
    assert cli.status() == "running"
    assert cli.try_("start", "c").returncode != 0
    assert json.loads(cli.do("list", "--format", "json"))[0]["id"] == "c"
    assert json.loads(cli.do("ps", "--format", "json", "c")) == [pid]
    cli.do("pause", "c")
    assert cli.status() == "paused"
    cli.do("resume", "c")
    cli.do("update", "--resources", "-", "c", stdin=None, input='{"pids": {"limit": 44}}')
    assert json.loads(cli.do("events", "--stats", "c"))["data"]["pids"]["current"] == 1
    assert cli.try_("delete", "c").returncode != 0
    cli.do("kill", "c", "KILL")
    ended(pid)
    assert cli.status() == "stopped"
    gone = cli.try_("kill", "c", "TERM")
    assert gone.returncode != 0
    assert "container not running" in gone.stderr
    cli.do("delete", "c")
    absent = cli.try_("state", "c")
    assert absent.returncode != 0
    assert "container does not exist" in absent.stderr
    assert "container does not exist" in json.loads(cli.log.read_text().splitlines()[-1])["msg"]


def test_run_and_its_code(cli: Cli) -> None:
    cli.spec("sh", "-c", "echo out; echo err >&2; exit 6")
    done = cli.try_("run", "--bundle", str(cli.bundle), "c")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 6)
    assert cli.do("list", "-q") == ""


def test_exec(cli: Cli, tmp_path: Path) -> None:
    cli.spec("sleep", "100")
    cli.create()
    cli.do("start", "c")
    done = cli.try_("exec", "--env", "A=b", "--cwd", "/bin", "c", "sh", "-c", "echo $A $PWD; exit 3")
    assert (done.stdout, done.returncode) == ("b /bin\n", 3)
    assert cli.try_("exec", "c", "nope").returncode != 0
    process = json.loads((cli.bundle / "config.json").read_text())["process"]
    (tmp_path / "process").write_text(json.dumps({**process, "args": ["sleep", "77"]}))
    words = ["--process", str(tmp_path / "process"), "--detach", "--pid-file", str(tmp_path / "pid")]
    cli.do("exec", *words, "c", capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=None)
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_text() == "sleep\x0077\x00"
    assert pid in json.loads(cli.do("ps", "--format", "json", "c"))


def test_a_terminal(cli: Cli, tmp_path: Path) -> None:
    cli.spec("sh", "-c", "tty; cat", terminal=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen(1)
        pid = cli.create("--console-socket", str(tmp_path / "console"))
        peer, _ = listener.accept()
        with peer:
            _, fds, _, _ = socket.recv_fds(peer, 256, 1)
    cli.do("start", "c")
    assert os.read(fds[0], 99) == b"/dev/pts/0\r\n"
    os.write(fds[0], b"\x04")
    ended(pid)
    os.close(fds[0])


def test_users_of_its_own(cli: Cli) -> None:
    """Root inside is nobody outside, and what was made with it belongs to it."""
    cli.spec("sh", "-c", "cat /proc/self/uid_map; id -u; sleep 100")
    path = cli.bundle / "config.json"
    made = json.loads(path.read_text())
    linux = made["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": 300000, "size": 1000}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": 400000, "size": 1000}]
    for name in ("bounding", "effective", "permitted"):
        made["process"]["capabilities"][name].append("CAP_NET_ADMIN")
    path.write_text(json.dumps(made))
    for folder in (cli.bundle / "rootfs", *(cli.bundle / "rootfs").rglob("*")):
        os.chown(folder, 300000, 400000, follow_symlinks=False)
    pid = cli.create()
    cli.do("start", "c")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Uid:\t300000\t300000" in status
    assert "Gid:\t400000\t400000" in status
    assert cli.do("exec", "c", "cat", "/proc/self/uid_map").split() == ["0", "300000", "1000"]
    assert cli.do("exec", "c", "id", "-u") == "0\n"
    cli.do("exec", "c", "ip", "link", "set", "lo", "down")
    cli.do("kill", "c", "KILL")
    ended(pid)


def test_a_program_that_is_not_there(cli: Cli) -> None:
    cli.spec("/not/there")
    made = cli.try_("create", "--bundle", str(cli.bundle), "c", capture_output=False, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, text=None)  # fmt: skip
    if made.returncode == 0:
        started = cli.try_("start", "c")
        assert started.returncode != 0
        assert "no such file or directory" in started.stderr
