import errno
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from cribus.executor.child import process
from cribus.executor.child.failure import Failed
from cribus.linux import mount, namespaces

NOT_SCHEDULED: dict[str, Any] = {"scheduler": [], "io_priority": [], "memory_policy": [], "personality": -1}


def test_scheduling_is_set() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        scheduled = {"scheduler": [3, 1, [7, 0], [0, 0, 0]], "io_priority": [3, 0], "memory_policy": [2, [0]]}
        scheduled["personality"] = 8
        process.limits({"rlimits": [], "oom": None, **scheduled}, write)
        policy = os.sched_getscheduler(0)
        bits = os.uname().machine
        with open("/proc/self/numa_maps") as file:
            bound = "bind:0" in file.read()
        os._exit(
            0
            if (policy, os.nice(0), bound, bits[-2:]) == (os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, 7, True, "86")
            else 1
        )
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(read)
    os.close(write)


def test_the_cpus_of_the_services_are_not_inherited() -> None:
    pid = os.fork()
    if pid == 0:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, [min(before)])
        process.any_cpu()
        os._exit(0 if os.sched_getaffinity(0) >= before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_limits_degrade_with_a_warning() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (10, 20))
        os.setresuid(1000, 1000, 1000)
        what: dict[str, Any] = {"rlimits": [[resource.RLIMIT_CORE, 30, 40]], "oom": None, **NOT_SCHEDULED}
        process.limits(what, write)
        os._exit(0 if resource.getrlimit(resource.RLIMIT_CORE) == (20, 20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"cannot be raised" in os.read(read, 999)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("name", "number", "code", "text"),
    [
        ("nope", errno.ENOENT, "NOT_FOUND", "not found in \\$PATH"),
        ("/nope", errno.ENOENT, "NOT_FOUND", "no such file or directory in the container"),
        ("/bin/sh", errno.ENOENT, "NOT_FOUND", "its interpreter or loader"),
        ("/etc/passwd", errno.EACCES, "INVALID_ARGUMENT", "permission denied"),
        ("/etc/passwd", errno.ENOEXEC, "INVALID_ARGUMENT", "exec format error"),
    ],
)
def test_why_it_cannot_be_executed(name: str, number: int, code: str, text: str) -> None:
    failed = process._explained(name, [name], OSError(number, os.strerror(number)))
    assert failed.code == code
    with pytest.raises(Failed, match=text):
        raise failed
    assert process.exit_code(failed) == (127 if code == "NOT_FOUND" else 126)


def test_signals_are_as_at_birth() -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        process.default_signals()
        fine = signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
        os._exit(0 if fine and not signal.pthread_sigmask(signal.SIG_BLOCK, []) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_pipes_and_terminals_are_given_to_the_user_and_files_are_not(tmp_path: Path) -> None:
    read, write = os.pipe()
    master, slave = os.openpty()
    file = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    pid = os.fork()
    if pid == 0:
        process.streams([write, file, slave])
        process._give_streams(1000)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [os.fstat(fd).st_uid for fd in (write, file, slave)] == [1000, 0, 1000]
    for fd in (read, write, master, slave, file):
        os.close(fd)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_an_empty_input_is_the_containers_own_null(device: str) -> None:
    """One that was opened through another mount than the container's cannot be named in a checkpoint."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mount.change("/", mount.MS_PRIVATE | mount.MS_REC)
        fd = os.open(device, os.O_RDONLY)
        os.dup2(fd, 0)
        mount.bind("/dev/null", "/dev/null")
        process.own_null()
        own, now = os.open("/dev/null", os.O_RDONLY), 0
        os.write(write, b"same" if _mount_of(own) == _mount_of(now) else b"other")
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == (b"same" if device == "/dev/null" else b"other")
    os.close(read)


def _mount_of(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return next(line for line in file if line.startswith("mnt_id"))
