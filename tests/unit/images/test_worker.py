"""A worker's two ends."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cribus import hung
from cribus.errors import Aborted, DataLoss, Unavailable
from cribus.images import worker
from cribus.images.layer import Job

from tests.registry import Entry, tar
from tests.unit.images.world import Child, digest, run, spawn

PLAIN = tar([Entry("file", b"x" * 5000)])


def worked(tmp_path: Path, **changes: Any) -> tuple[int, int]:
    (tmp_path / "folder" / "fs").mkdir(parents=True)
    (tmp_path / "blob").write_bytes(PLAIN)
    job = Job(
        digest(PLAIN), digest(PLAIN), len(PLAIN), 1 << 20, str(tmp_path / "blob"), "", 0, str(tmp_path / "folder")
    )

    async def work() -> tuple[int, int]:
        blob = os.open(tmp_path / "blob", os.O_RDONLY)
        try:
            answer = await worker.start(changes.pop("spawn", spawn), job._replace(**changes), blob)
        finally:
            os.close(blob)
        return await worker.answer(answer)

    return run(work)


def test_done(tmp_path: Path) -> None:
    assert worked(tmp_path) == (8192, 1)
    assert (tmp_path / "folder/fs/file").stat().st_size == 5000


def test_its_error_is_ours(tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="config says"):
        worked(tmp_path, diff_id=digest(b""))


def test_nobody_waits_for_its_answer(tmp_path: Path) -> None:
    blob = os.open("/dev/null", os.O_RDONLY)
    ours, theirs = os.pipe()
    os.close(ours)
    job = Job(digest(b""), digest(b""), 0, 1 << 20, str(tmp_path / "blob"), "", 0, str(tmp_path))
    assert worker.main({"job": job._asdict()}, [blob, theirs]) == 0
    for fd in (blob, theirs):
        os.close(fd)


def test_killed(tmp_path: Path) -> None:
    async def stillborn(function: str, request: dict[str, Any], fds: Sequence[int]) -> Child:
        pid = os.fork()
        if pid == 0:
            os._exit(1)
        child = Child(pid)
        await asyncio.to_thread(os.waitpid, pid, 0)
        return child

    with pytest.raises(Unavailable, match="died"):
        worked(tmp_path, spawn=stillborn)


def test_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hung, "LOOK", 0.01)

    async def stopping(function: str, request: dict[str, Any], fds: Sequence[int]) -> Child:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
        return Child(pid)

    with pytest.raises(Unavailable, match="died"):
        worked(tmp_path, spawn=stopping)


def test_no_worker_to_be_had(tmp_path: Path) -> None:
    async def none(function: str, request: dict[str, Any], fds: Sequence[int]) -> Child:
        raise ConnectionError("the fork server has gone")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Aborted, match=r"gone.*repeat it"):
        worked(tmp_path, spawn=none)
    assert len(os.listdir("/proc/self/fd")) == before
