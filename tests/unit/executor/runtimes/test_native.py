import asyncio
import os
from pathlib import Path

import pytest
from cribus.errors import NotFound
from cribus.executor.child import failure
from cribus.executor.node import Held
from cribus.executor.runtimes import native


def start(bundle: Path, said: bytes) -> None:
    """Start where init says this and closes its end, as exec does."""
    sync, write = os.pipe()
    os.write(write, said)
    os.close(write)
    pidfd = os.pidfd_open(os.getpid())
    try:
        asyncio.run(native.start(Held(pidfd, sync), str(bundle)))
    finally:
        os.close(pidfd)
        os.close(sync)


def test_start_passes_the_barrier(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "start")
    fifo = os.open(tmp_path / "start", os.O_RDWR)
    start(tmp_path, b"")
    assert os.read(fifo, 9) == b"s"
    os.close(fifo)
    start(tmp_path, b"")  # started before: nobody waits, and that is no error


def test_the_reason_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "start")

    read, write = os.pipe()
    os.write(write, failure.line("error", "NOT_FOUND no such file"))
    os.close(write)
    child = os.posix_spawn("/bin/true", ["true"], os.environ)
    pidfd = os.pidfd_open(child)
    with pytest.raises(NotFound, match="no such file"):
        asyncio.run(native.start(Held(pidfd, read), str(tmp_path)))
    os.waitpid(child, 0)
    os.close(read)
    os.close(pidfd)
