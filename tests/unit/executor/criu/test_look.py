"""What came back is compared with what the request allows: with processes of this test in the container's place."""

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.executor.criu import look
from cribus.linux import capabilities, mount, namespaces
from cribus.linux import process as linux_process

PATTERN = """100 30 0:50 / /run/c/pattern rw,relatime - overlay overlay rw,lowerdir=/l
101 100 0:51 / /run/c/pattern/proc rw,nosuid - proc proc rw
102 100 0:52 / /run/c/pattern/dev rw,nosuid - tmpfs tmpfs rw,size=65536k
103 100 8:1 /var/data /run/c/pattern/data ro,relatime - ext4 /dev/sda rw
99 30 8:1 / /home rw - ext4 /dev/sda rw
98 30 0:60 / /run/c/patterns rw - tmpfs tmpfs rw
"""
THERE = """9 5 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l
8 9 0:71 / /proc rw,nosuid - proc proc rw
7 9 0:72 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
6 9 8:1 /var/data /data ro,relatime - ext4 /dev/sda rw
"""
ALL = (1 << 64) - 1


def expected(mountinfo: str = PATTERN, **process: Any) -> look.Expected:
    known = {
        "uid": 0, "no_new_privs": False, "seccomp": b"", "labels": [], "rlimits": [], "oom": None,
        "capabilities": {"bounding": ALL, "may": ALL}, **process,
    }  # fmt: skip
    return look.Expected(mountinfo, "/run/c/pattern", {"linux": {"namespaces": [{"type": "pid"}]}}, known, ["/data"])


mounted = look.mounted


@pytest.fixture(autouse=True)
def _no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mounts of this test's processes are the host's, where others mount and unmount all the while."""
    monkeypatch.setattr(look, "mounted", lambda *_: None)


def test_the_same_mounts() -> None:
    mounted(THERE, expected())


def test_cgroups_seen_from_inside_and_from_outside() -> None:
    line = "5 9 0:26 {} {}/sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    known = expected(PATTERN + line.format("/", "/run/c/pattern"))._replace(cgroup="/pod/box")
    mounted(THERE + line.format("/pod/box", ""), known)
    with pytest.raises(FailedPrecondition, match="/sys/fs/cgroup"):
        mounted(THERE + line.format("/pod", ""), known)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("/data ro", "/data rw", "/data"),
        ("8:1 /var/data", "8:1 /", "/data"),
        ("8:1 /var/data", "8:2 /var/data", "/data"),
        ("size=65536k", "size=99999999k", "/dev"),
        ("rw,nosuid - proc", "rw - proc", "/proc"),
        ("proc proc rw\n", "proc proc rw\n5 9 0:80 / /more rw - tmpfs tmpfs rw\n", "/more"),
        ("proc proc rw\n", "proc proc rw\n5 9 0:80 / /proc rw,nosuid - proc proc rw\n", "more often"),
        ("7 9 0:72 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k\n", "", "lacks .*/dev"),
        ("0:50 / / rw,relatime", "8:1 / / rw,relatime", "overlay mounted at /"),
    ],
)
def test_other_mounts(old: str, new: str, why: str) -> None:
    assert old in THERE
    with pytest.raises(FailedPrecondition, match=why):
        mounted(THERE.replace(old, new), expected())


@contextlib.contextmanager
def stopped(prepare: Callable[[], None]) -> Iterator[int]:
    """A stopped process in a PID and a mount namespace of its own, its first one."""
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS)
    if pid == 0:
        code = 1
        try:
            mount.change("/", mount.MS_PRIVATE | mount.MS_REC)
            os.close(read)
            prepare()
            os.write(write, b"x")
            signal.pause()
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    os.close(pidfd)
    try:
        assert os.read(read, 1) == b"x"
        os.kill(pid, signal.SIGSTOP)
        assert os.waitpid(pid, os.WUNTRACED)[1] & 0xFF == 0x7F
        yield pid
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def looked(pid: int, *more: int, **process: Any) -> None:
    look.check(look.Found(pid, [pid, *more]), expected(**process))


def lean() -> None:
    """No files of this test's own."""
    keep = {int(name) for name in os.listdir("/proc/self/fd")}
    for fd in keep - {0, 1, 2}:
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
                os.close(fd)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)


def test_one_that_is_what_was_asked_for() -> None:
    with stopped(lean) as pid:
        looked(pid)


def test_capabilities() -> None:
    with stopped(lean) as pid, pytest.raises(FailedPrecondition, match="has capabilities"):
        looked(pid, capabilities={"bounding": 1, "may": ALL})


def test_fewer_capabilities_are_no_harm() -> None:
    def prepare() -> None:
        lean()
        capabilities.drop_bounding(1, (1 << len(capabilities.NAMES)) - 1)
        capabilities.capset(1, 1, 0)

    with stopped(prepare) as pid:
        looked(pid, capabilities={"bounding": 1, "may": ALL})


def test_privileges_user_and_filter() -> None:
    with stopped(lean) as pid:
        with pytest.raises(FailedPrecondition, match="may gain privileges"):
            looked(pid, no_new_privs=True)
        with pytest.raises(FailedPrecondition, match="runs as user 0"):
            looked(pid, uid=1000)
        with pytest.raises(FailedPrecondition, match="without the request's seccomp profile"):
            looked(pid, seccomp=b"x")


def test_apparmor(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel of the tests has it: what it would say is given."""
    labels = [["/proc/self/attr/apparmor/exec", "exec mine"]]
    with stopped(lean) as pid:
        monkeypatch.setattr(look, "_confined", lambda pid, thread: "mine (enforce)\n")
        looked(pid, labels=labels)
        for told in ("unconfined\n", "mine-too (enforce)\n"):
            monkeypatch.setattr(look, "_confined", lambda pid, thread, told=told: told)
            with pytest.raises(FailedPrecondition, match="without the request's AppArmor profile"):
                looked(pid, labels=labels)


def test_one_that_runs_already() -> None:
    with stopped(lean) as pid:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, os.WCONTINUED)
        with pytest.raises(FailedPrecondition, match="runs already"):
            looked(pid)


def test_a_file_that_is_not_the_containers() -> None:
    def prepare() -> None:
        lean()
        os.open("/etc/passwd", os.O_RDONLY)
        namespaces.unshare(namespaces.CLONE_NEWNS)  # what was open is of the mounts before

    with stopped(prepare) as pid, pytest.raises(FailedPrecondition, match="open, which is not the container's"):
        looked(pid)


def test_the_hosts_namespaces() -> None:
    pid = os.fork()
    if pid == 0:
        lean()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitpid(pid, os.WUNTRACED)
        spec: dict[str, Any] = {"linux": {"namespaces": []}}
        with pytest.raises(FailedPrecondition, match="host's mnt"):
            look._namespaces(pid, pid, spec)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_another_network_than_the_pods() -> None:
    spec: dict[str, Any] = {"linux": {"namespaces": [{"type": "network", "path": "/proc/self/ns/net"}]}}

    def prepare() -> None:
        lean()
        namespaces.unshare(namespaces.CLONE_NEWNET)

    with stopped(prepare) as pid, pytest.raises(FailedPrecondition, match="pod's network"):
        look._namespaces(pid, pid, spec)


def test_one_outside_of_the_cgroup() -> None:
    """It has a child, of which nobody knows."""

    def prepare() -> None:
        lean()
        if os.fork() == 0:
            signal.pause()

    with stopped(prepare) as pid, pytest.raises(FailedPrecondition, match="outside of the container's cgroup"):
        looked(pid)


def test_numbers_are_set() -> None:
    with stopped(lean) as pid:
        looked(pid, rlimits=[[resource.RLIMIT_NOFILE, 50, 60]], oom=500)
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] == 60
        with open(f"/proc/{pid}/oom_score_adj") as file:
            assert file.read().strip() == "500"
        assert linux_process.state(pid) == "T"


def test_real_time() -> None:
    def prepare() -> None:
        lean()
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    with stopped(prepare) as pid, pytest.raises(FailedPrecondition, match="real time"):
        looked(pid)


def test_the_mounts_that_it_really_has_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(look, "mounted", lambda mountinfo, _: seen.append(mountinfo))
    with stopped(lean) as pid:
        looked(pid)
        assert " / / " in seen[0]
