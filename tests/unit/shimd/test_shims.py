"""Which shims live, with processes that are only as much of a shim as this room can see."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cribus.api.events import Event
from cribus.errors import Unavailable
from cribus.shimd import adopt
from cribus.shimd import shims as room
from cribus.shimd.adopt import Shim
from cribus.shimd.roster import Roster
from cribus.shimd.shims import Shims

SLEEPER = "import os, sys, time; os.write(int(sys.argv[1]), b'1'); os.close(int(sys.argv[1])); time.sleep(1000)"


class Place:
    def __init__(self, base: Path) -> None:
        self.roster = Roster(str(base))
        self.script = SLEEPER
        self.started: list[subprocess.Popen[bytes]] = []
        self.more = asyncio.Event()
        self.news: asyncio.Queue[Event] = asyncio.Queue()
        self.shims = Shims(self.roster, self.spawn, self.news.put_nowait)

    async def spawn(self, pod: str, ready: int) -> Shim:
        one = self._popen(ready)
        self.more.set()
        return one

    def _popen(self, ready: int) -> Shim:
        process = subprocess.Popen([sys.executable, "-c", self.script, str(ready)], pass_fds=[ready])
        self.started.append(process)
        return Shim(process.pid, os.pidfd_open(process.pid))

    def play(self, scenario: Callable[["Place"], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(30):
                await scenario(self)
                await self.shims.close()

        try:
            asyncio.run(main())
        finally:
            for process in self.started:
                process.kill()
                process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def started(place: Place, count: int) -> None:
    while len(place.started) < count:
        place.more.clear()
        await place.more.wait()


def test_start_is_idempotent_and_stop_too(place: Place) -> None:
    async def scenario(place: Place) -> None:
        pids = await asyncio.gather(*(place.shims.start("a") for _ in range(5)))
        assert set(pids) == {place.started[0].pid}
        assert place.shims.pids() == {"a": pids[0]}
        assert place.roster.wanted() == ["a"]
        await asyncio.gather(place.shims.stop("a"), place.shims.stop("a"))
        await place.shims.stop("a")
        assert place.shims.pids() == {}
        assert place.roster.wanted() == []
        assert place.started[0].wait() == -signal.SIGKILL
        assert len(place.started) == 1

    place.play(scenario)


def test_one_that_dies_is_started_again_at_once_and_then_more_slowly(place: Place) -> None:
    async def scenario(place: Place) -> None:
        loop = asyncio.get_running_loop()
        await place.shims.start("a")
        begun = loop.time()
        for count in (1, 2):
            place.started[-1].kill()
            await started(place, count + 1)
        assert loop.time() - begun < 1
        begun = loop.time()
        place.script = "raise SystemExit(1)"
        place.started[-1].kill()
        await started(place, 6)
        assert loop.time() - begun > 0.1 + 0.2
        await place.shims.stop("a")

    place.play(scenario)


def test_one_that_does_not_come_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "READY", 0.5)
    place.script = "raise SystemExit(1)"

    async def scenario(place: Place) -> None:
        with pytest.raises(Unavailable, match="does not come up"):
            await place.shims.start("a")
        await place.shims.stop("a")

    place.play(scenario)


def test_one_that_is_being_stopped_is_not_called_hung(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = asyncio.Event()

    async def while_it_is_stopped(folder: str) -> bool:
        looked.set()
        await asyncio.wait({asyncio.ensure_future(stopped.wait())})
        return False

    stopped = asyncio.Event()
    monkeypatch.setattr(room, "_CHECK", 0.0)
    monkeypatch.setattr(adopt, "healthy", while_it_is_stopped)

    async def scenario(place: Place) -> None:
        await place.shims.start("a")
        await looked.wait()
        stopping = asyncio.create_task(place.shims.stop("a"))
        await place.shims._posts["a"].ending.wait()
        stopped.set()
        await stopping

    place.play(scenario)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []


def test_one_that_hangs_is_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(folder: str) -> bool:
        return False

    monkeypatch.setattr(room, "_CHECK", 0.0)
    monkeypatch.setattr(adopt, "healthy", never)

    async def scenario(place: Place) -> None:
        first = await place.shims.start("a")
        await started(place, 2)
        assert place.started[0].pid == first
        await place.shims.stop("a")

    place.play(scenario)
    assert "shim does not answer" in [one.message for one in caplog.records]


def test_who_was_replaced_and_how_it_ended_is_told(place: Place) -> None:
    async def scenario(place: Place) -> None:
        await place.shims.start("a")
        assert place.news.empty()
        place.started[0].send_signal(signal.SIGKILL)
        await place.shims.stop("a")
        assert place.news.empty(), "one that was ended on purpose is no news"
        await place.shims.start("b")
        place.started[-1].send_signal(signal.SIGTERM)
        await asyncio.to_thread(place.started[-1].wait)
        event = await place.news.get()
        first, second = (str(process.pid) for process in place.started[-2:])
        assert (event.kind, event.id) == ("shim_replaced", "b")
        assert (event.detail["pid"], event.detail["successor"]) == (first, second)
        assert event.detail["how"] in ("SIGTERM from outside", "it died")
        await place.shims.stop("b")

    place.play(scenario)


def test_one_that_was_gone_when_shimd_started_is_told(place: Place) -> None:
    async def scenario(place: Place) -> None:
        place.roster.want("a")
        await place.shims.adopt()
        assert (await place.news.get()).detail["how"] == "it was gone when shimd started"
        await place.shims.stop("a")

    place.play(scenario)


def test_one_that_is_stopped_is_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_REAPED", 0.0)

    async def scenario(place: Place) -> None:
        first = await place.shims.start("a")
        place.shims.look()
        os.kill(first, signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, first, os.WSTOPPED)
        place.shims.look()
        place.shims.look()
        assert place.started[0].poll() is None, "it may be stopped for a moment only"
        place.shims.look()
        await started(place, 2)
        event = await place.news.get()
        assert event.detail["how"] == "it was stopped by a signal"
        await place.shims.stop("a")

    place.play(scenario)


def test_many_that_start_are_told_which_containers_are_theirs(place: Place, tmp_path: Path) -> None:
    """Each would else read what all containers say: 500 pods, 250,000 files."""
    orders: list[str] = []

    async def spawn(order: str, ready: int) -> Shim:
        orders.append(re.sub(r" \d+", "", order))  # without its generation
        return await place.spawn(order, ready)

    async def scenario(place: Place) -> None:
        for pod in ("a", "b"):
            place.roster.want(pod)
        (tmp_path / "containers" / "c").mkdir(parents=True)
        (tmp_path / "containers" / "c" / "take.json").write_text('{"container":"c","pod":"a"}')
        await place.shims.adopt()
        await started(place, 2)
        assert sorted(orders) == ["a\nc", "b\n"]
        place.started[orders.index("b\n")].kill()
        await started(place, 3)
        assert orders[2:] == ["b"], "later ones look themselves"
        for pod in ("a", "b"):
            await place.shims.stop(pod)

    place.shims = Shims(place.roster, spawn, place.news.put_nowait)
    place.play(scenario)


def test_an_order_that_was_deleted_still_holds(place: Place) -> None:
    async def scenario(place: Place) -> None:
        await place.shims.start("a")
        place.roster.drop("a")
        place.started[0].kill()
        await started(place, 2)
        assert place.roster.wants("a")
        await place.shims.stop("a")
        assert not place.roster.wants("a")

    place.play(scenario)


def test_one_that_nobody_can_find_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be another of its pod soon, and two would write one log."""
    read, write = os.pipe()
    lost = place._popen(write)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    monkeypatch.setattr(adopt, "lost", lambda run, known: [lost])

    async def scenario(place: Place) -> None:
        await place.shims.adopt()
        assert place.started[0].wait(5) == -signal.SIGKILL

    place.play(scenario)


def test_many_wait_until_the_first_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_FEW", 2)
    monkeypatch.setattr(room, "_AT_ONCE", 2)

    async def scenario(place: Place) -> None:
        pods = [f"pod{k}" for k in range(5)]
        for pod in pods:
            place.roster.want(pod)
        await place.shims.adopt()
        assert sorted(place.shims.waiting()) == pods
        assert place.started == []
        assert await place.shims.start("pod3") == place.started[0].pid
        await started(place, 5)
        await asyncio.gather(*(place.shims.start(pod) for pod in pods))
        assert len(place.started) == 5
        assert place.shims.waiting() == []
        for pod in pods:
            await place.shims.stop(pod)

    place.play(scenario)


def test_what_cannot_be_forked_is_told_at_once_and_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(place: Place) -> None:
        async def short(order: str, ready: int) -> Shim:
            raise OSError(11, "Resource temporarily unavailable")

        with monkeypatch.context() as full:
            full.setattr(place.shims, "_spawn", short)
            with pytest.raises(OSError, match="temporarily unavailable"):
                await place.shims.start("a")
        assert await place.shims.start("a") == place.started[0].pid
        await place.shims.stop("a")

    place.play(scenario)


def test_many_do_not_wait_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_FEW", 1)
    monkeypatch.setattr(room, "_ALONE", 0.01)

    async def scenario(place: Place) -> None:
        for pod in ("a", "b", "c"):
            place.roster.want(pod)
        await place.shims.adopt()
        await place.shims.stop("c")
        await started(place, 2)
        assert place.shims.waiting() == []
        for pod in ("a", "b"):
            await place.shims.stop(pod)
        assert len(place.started) == 2, "one that was stopped meanwhile is not started"

    place.play(scenario)


async def refused(place: Place) -> None:
    """Until its death was seen, the pod has its shim."""
    while True:
        await place.shims.start("a")
        await asyncio.sleep(0)


def test_no_descriptor_for_a_start_ends_no_watch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(place: Place) -> None:
        def none_left(flags: int) -> tuple[int, int]:
            raise OSError(24, "Too many open files")

        await place.shims.start("a")
        with monkeypatch.context() as full:
            full.setattr(os, "pipe2", none_left)
            place.started[0].kill()
            place.started[0].wait()
            with pytest.raises(OSError, match="Too many"):
                await refused(place)
        await started(place, 2)
        await place.shims.stop("a")

    place.play(scenario)
