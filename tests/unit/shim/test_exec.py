"""Exec through a real shim and bus, with an executor that starts processes of this host."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from cribus.api import shim
from cribus.bus import service
from cribus.bus.service import Bus
from cribus.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from cribus.shim import exec as execs

from tests.harness import until
from tests.unit.shim.peers import Client, Executor
from tests.unit.shim.rig import Rig

POD, CONTAINER = "a" * 64, "c" * 64


@contextlib.asynccontextmanager
async def peers(rig: Rig) -> AsyncIterator[tuple[Bus, Executor]]:
    rig.container(CONTAINER, ["sleep", "1000"])
    executor = Executor(rig)
    async with service.connect(rig.settings, "executor") as other, other.serve(executor.table()):
        await asyncio.to_thread(rig.shim, POD)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(60):
            await bus.call(shim.TAKE, shim.Take(container=CONTAINER, pod=POD), id=POD)
            async with service.connect(rig.settings, "gateway") as gateway:
                yield gateway, executor


Scenario = Callable[[Bus, Executor], Coroutine[Any, Any, None]]


@pytest.fixture
def play(rig: Rig) -> Callable[[Scenario], None]:
    async def main(scenario: Scenario) -> None:
        async with peers(rig) as (bus, executor):
            await scenario(bus, executor)

    return lambda scenario: asyncio.run(main(scenario))


async def sync(bus: Bus, *cmd: str, timeout: int = 0) -> shim.ExecSyncDone:
    return await bus.call(
        shim.EXEC_SYNC, shim.ExecSync(container=CONTAINER, cmd=list(cmd), timeout=timeout), id=CONTAINER
    )


async def opened(bus: Bus, client: Client, *cmd: str, tty: bool = False) -> shim.StreamOpened:
    wanted = shim.OpenExec(container=CONTAINER, stream=client.id, cmd=list(cmd), tty=tty, stdin=True)
    return await bus.call(shim.EXEC, wanted, id=CONTAINER)


def test_sync_gives_output_and_code(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        done = await sync(bus, "sh", "-c", "echo out; echo err >&2; exit 5")
        assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)
        assert (await sync(bus, "sh", "-c", "kill -9 $$")).exit_code == 137
        many = await asyncio.gather(*(sync(bus, "echo", str(k)) for k in range(20)))
        assert [one.stdout for one in many] == [b"%d\n" % k for k in range(20)]

    play(scenario)


def test_sync_does_not_wait_for_what_runs_on(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        async with asyncio.timeout(5):
            assert (await sync(bus, "sh", "-c", "sleep 30 & echo $!")).exit_code == 0

    play(scenario)


def test_sync_output_is_limited_and_large_answers_travel(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        done = await sync(bus, "head", "-c", str(execs.OUTPUT_LIMIT + 5_000_000), "/dev/zero")
        assert len(done.stdout) == execs.OUTPUT_LIMIT
        assert done.exit_code == 0

    play(scenario)


def test_sync_timeout_kills_the_process_group(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        with pytest.raises(DeadlineExceeded, match="within 1 s"):
            await sync(bus, "sh", "-c", "sleep 100 & sleep 100", timeout=1)
        group = executor.pids[-1]
        await asyncio.to_thread(until, lambda: not _members(group), 5, "the group is gone")

    play(scenario)


def _members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_sync_errors(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        with pytest.raises(FailedPrecondition, match="no such program"):
            await sync(bus, "missing")
        with pytest.raises(InvalidArgument, match="command"):
            await sync(bus)
        with pytest.raises(NotFound):
            await bus.call(shim.EXEC_SYNC, shim.ExecSync(container="d" * 64, cmd=["true"]), id=POD)

    play(scenario)


def test_streams_both_ways(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        client = await Client(bus).open()
        await opened(bus, client, "sh", "-c", "cat; echo end >&2; exit 3")
        data = os.urandom(3_000_000)
        await client.write(data)
        client.stream.outgoing[0].end()
        assert await client.exited() == 3
        assert client.output[1] == data
        assert client.output[2] == b"end\n"

    play(scenario)


def test_a_slow_reader_stops_the_process_and_gets_everything(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        client = await Client(bus, slow=True).open()
        await opened(bus, client, "head", "-c", "2000000", "/dev/zero")
        await client.until(lambda one: len(one.output[1]) > 150 << 10)
        client.hurry()
        assert await client.exited() == 0
        assert len(client.output[1]) == 2_000_000

    play(scenario)


def test_a_terminal(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        client = await Client(bus).open()
        client.stream.resize(123, 45)
        assert (await opened(bus, client, "sh", "-c", "read x; stty size; echo got $x; exit 4", tty=True)).tty
        client.stream.resize(77, 33)
        await client.write(b"word\n")
        assert await client.exited() == 4
        assert client.output[1] == b"word\r\n33 77\r\ngot word\r\n"

    play(scenario)


def test_a_client_that_leaves_takes_the_streams_along(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        client = await Client(bus).open()
        await opened(bus, client, "cat")
        await client.leave()
        pid = executor.pids[-1]
        await asyncio.to_thread(until, lambda: not os.path.exists(f"/proc/{pid}/exe"), 5, "cat ends")

    play(scenario)


def test_a_program_that_cannot_start_is_the_answer(play: Any) -> None:
    async def scenario(bus: Bus, executor: Executor) -> None:
        client = await Client(bus).open()
        with pytest.raises(FailedPrecondition, match="no such program"):
            await opened(bus, client, "missing")

    play(scenario)
