import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cribus.linux import namespaces, process


def child(code: int) -> tuple[int, int]:
    pid, pidfd = namespaces.clone3()
    if pid == 0:
        os._exit(code)
    return pid, pidfd


def test_exit_is_known_from_a_pidfd_after_reaping() -> None:
    pid, pidfd = child(7)
    select.select([pidfd], [], [], 5)
    assert process.pidfd_exit(pidfd) is None
    os.waitpid(pid, 0)
    status = process.pidfd_exit(pidfd)
    assert status is not None
    assert os.waitstatus_to_exitcode(status) == 7
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)


def test_start_time_is_part_of_the_name() -> None:
    started = process.start_time(os.getpid())
    assert started > 0
    assert process.is_running(os.getpid(), started)
    assert not process.is_running(os.getpid(), started + 1)
    pid, pidfd = child(0)
    select.select([pidfd], [], [], 5)
    assert not process.is_running(pid, process.start_time(pid))
    os.waitpid(pid, 0)
    assert (process.start_time(pid), process.start_time(0)) == (0, 0)
    os.close(pidfd)
    with pytest.raises(ProcessLookupError):
        process.pidfd_open(pid)


def test_name_and_title() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        process.set_name("a-name-that-is-too-long")
        process.set_title("title")
        process.set_subreaper()
        process.pdeathsig(signal.SIGKILL)
        own = Path(f"/proc/{os.getpid()}")
        os.write(write, (own / "comm").read_bytes() + (own / "cmdline").read_bytes().rstrip(b"\0"))
        os._exit(0)
    assert os.read(read, 99) == b"a-name-that-is-\ntitle"
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("status", [0, 7 << 8, signal.SIGKILL])
def test_a_zombie_shows_how_it_ended(status: int) -> None:
    pid = os.fork()
    if pid == 0:
        if status & 0x7F:
            os.kill(os.getpid(), status)
        os._exit(status >> 8)
    pidfd = os.pidfd_open(pid)
    select.select([pidfd], [], [], 5)
    assert process.zombie_exit(pidfd) == status
    os.waitpid(pid, 0)
    assert process.zombie_exit(pidfd) is None
    os.close(pidfd)
    assert process.zombie_exit(pidfd) is None


def test_one_that_lives_shows_nothing() -> None:
    pidfd = os.pidfd_open(os.getpid())
    assert process.zombie_exit(pidfd) is None
    os.close(pidfd)


def test_who_is_called_so_and_where_it_is_at_home(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    code = "import os, time; from cribus.linux import process; process.set_name('crbtest:1'); print(); time.sleep(99)"
    child = subprocess.Popen([sys.executable, "-uc", code], cwd=folder, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        assert process.named("crbtest:1") == process.named("crbtest:") == [child.pid]
        assert process.named("crbtest") == []
        assert process.home(child.pid) == str(folder)
        folder.rmdir()
        assert process.home(child.pid) == str(folder)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert process.home(child.pid) == ""


def test_a_signal_is_read() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    fd = process.signal_fd(signal.SIGUSR2)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 128)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)  # not to a thread in which it is not blocked
        assert int.from_bytes(os.read(fd, 128)[:4], sys.byteorder) == signal.SIGUSR2
    finally:
        os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
