"""A look that hangs costs its own caller a deadline, and nobody else anything."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cribus import hung
from cribus.errors import DeadlineExceeded
from cribus.manager.looker import Looker

from tests.unit.manager.conftest import Run, failing


@pytest.fixture
def dead(tmp_path: Path) -> str:
    """A path that gives no answer: reading from it waits for a writer who does not come."""
    os.mkfifo(tmp_path / "dead")
    return str(tmp_path / "dead")


def test_answers_and_errors_come_back(run: Run, tmp_path: Path) -> None:
    async def story(looker: Looker) -> None:
        found = await asyncio.gather(*(looker.ask("source", f"{tmp_path}/{number}") for number in range(20)))
        assert found == [f"{tmp_path}/{number}" for number in range(20)]
        with pytest.raises(FileNotFoundError):
            await looker.ask("text", f"{tmp_path}/none")
        assert len(await _processes()) == 1

    run(_with(Looker(), story))


def test_a_process_that_is_stopped_has_a_successor(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hung, "LOOK", 0.05)

    async def story(looker: Looker) -> None:
        await looker.ask("source", f"{tmp_path}/a")
        [pid] = await _processes()
        os.kill(pid, signal.SIGSTOP)
        assert await looker.ask("source", f"{tmp_path}/b") == f"{tmp_path}/b"
        assert pid not in await _processes()

    run(_with(Looker(), story))


def test_a_hung_look_is_given_up_and_hinders_no_other(run: Run, tmp_path: Path, dead: str) -> None:
    async def story(looker: Looker) -> None:
        hanging = asyncio.ensure_future(failing(looker.ask("text", dead)))
        assert await looker.ask("source", f"{tmp_path}/a") == f"{tmp_path}/a"
        assert not hanging.done()
        error = await hanging
        assert isinstance(error, DeadlineExceeded)
        assert error.message == f"{dead} gives no answer within 1 s; is a network volume dead?"
        assert await looker.ask("source", f"{tmp_path}/b") == f"{tmp_path}/b"
        await _gone(looker)
        assert len(await _processes()) == 1

    run(_with(Looker(patience=1.0), story))


def test_looks_of_others_in_the_same_process_are_made_again(run: Run, tmp_path: Path, dead: str) -> None:
    async def story(looker: Looker) -> None:
        second = tmp_path / "second"
        os.mkfifo(second)
        first = asyncio.ensure_future(failing(looker.ask("text", dead)))
        await asyncio.wait({first}, timeout=1.0)
        other = asyncio.ensure_future(looker.ask("text", str(second)))
        assert isinstance(await first, DeadlineExceeded)
        await _gone(looker)  # else the first try's reader, which is just being killed, would do
        with await asyncio.to_thread(second.open, "w") as writer:  # waits for the second try's reader
            writer.write("late")
        assert await other == "late"

    run(_with(Looker(patience=2.0), story))


def test_a_path_that_still_hangs_is_refused_at_once(run: Run, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(looker: Looker) -> None:
        dies = asyncio.Event()
        bury = looker._bury

        async def undead(worker: object, path: str) -> None:
            await dies.wait()  # as a process does that waits in the kernel for a server that is dead
            await bury(worker, path)  # type: ignore[arg-type]

        monkeypatch.setattr(looker, "_bury", undead)
        assert "within 0.2 s" in (await failing(looker.ask("text", dead))).message
        before = await _processes()
        assert "gives no answer, since" in (await failing(looker.ask("text", dead))).message
        assert await _processes() == before
        dies.set()
        await _gone(looker)
        assert "within 0.2 s" in (await failing(looker.ask("text", dead))).message  # asked again
        await _gone(looker)

    run(_with(Looker(patience=0.2), story))


async def _with(looker: Looker, story: Callable[[Looker], Coroutine[Any, Any, None]]) -> None:
    try:
        await story(looker)
    finally:
        await looker.close()
        assert not await _processes()


async def _gone(looker: Looker) -> None:
    """Until those that were given up are buried."""
    while looker._burying:
        await asyncio.wait(looker._burying)


async def _processes() -> set[int]:
    """Our children that look at paths."""

    def look() -> set[int]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {int(pid) for pid in children if b"looks" in Path(f"/proc/{pid}/cmdline").read_bytes()}

    return await asyncio.to_thread(look)
