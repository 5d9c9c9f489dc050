"""Calls over the real server: answers, errors, repeats, restarts and a bus that goes away."""

import asyncio
import time
from typing import Any

import pytest
from cribus import log
from cribus.api.executor import CREATE_POD, EXEC, CreatePod, Exec, Execed, PodCreated
from cribus.api.shim import EXEC_SYNC, ExecSync
from cribus.bus import client, service
from cribus.errors import Aborted, DeadlineExceeded, InvalidArgument, NotFound, Unavailable


def test_an_answer_and_an_error_come_back(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async def create(request: CreatePod) -> PodCreated:
            if request.pod == "bad":
                raise NotFound("no such thing")
            return PodCreated(cgroup=request.pod, pid=3)

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
            executor.serve({CREATE_POD: create}),
        ):
            assert (await manager.call(CREATE_POD, CreatePod(pod="x"))).pid == 3
            with pytest.raises(NotFound, match="no such thing"):
                await manager.call(CREATE_POD, CreatePod(pod="bad"))

    with_server(scenario)


def test_an_answer_larger_than_a_message_arrives_whole(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async def create(request: CreatePod) -> PodCreated:
            return PodCreated(namespaces={"x": "y" * 3_000_000})

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
            executor.serve({CREATE_POD: create}),
        ):
            assert len((await manager.call(CREATE_POD, CreatePod(pod="x"))).namespaces["x"]) == 3_000_000

    with_server(scenario)


def test_a_slow_operation_runs_once_though_it_is_asked_for_again(with_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "RESEND", 0.02)

    async def scenario(server: Any) -> None:
        runs = 0
        release = asyncio.Event()

        async def create(request: CreatePod) -> PodCreated:
            nonlocal runs
            runs += 1
            asyncio.get_running_loop().call_later(0.3, release.set)
            await release.wait()
            return PodCreated(pid=runs)

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
            executor.serve({CREATE_POD: create}),
        ):
            assert (await manager.call(CREATE_POD, CreatePod(pod="x"))).pid == 1
            assert runs == 1

    with_server(scenario)


def test_nobody_there_and_a_late_starter(with_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)

    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as manager:
            with pytest.raises(Unavailable, match="nobody serves executor"):
                await manager.call(CREATE_POD, CreatePod(pod="x"))
            monkeypatch.setattr(client, "PATIENCE", 5.0)
            asking = asyncio.create_task(manager.call(CREATE_POD, CreatePod(pod="x")))

            async def create(request: CreatePod) -> PodCreated:
                return PodCreated(pid=1)

            async with service.connect(server.settings, "executor") as executor, executor.serve({CREATE_POD: create}):
                assert (await asking).pid == 1

    with_server(scenario)


def test_what_must_not_run_twice_is_aborted_by_the_next_server(with_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "RESEND", 0.05)

    async def scenario(server: Any) -> None:
        never = asyncio.Event()

        async def hang(request: Exec) -> Execed:
            await never.wait()
            return Execed(pid=1)

        async with service.connect(server.settings, "shim") as shim:
            async with service.connect(server.settings, "executor") as first:
                await first.connection.nats.subscribe("cribus.unit.executor.exec")  # takes it, and dies
                await first.connection.nats.flush()
                asking = asyncio.create_task(shim.call(EXEC, Exec(container="c", pod="p", exec_id="e", args=["x"])))
                await asyncio.wait({asking}, timeout=0.2)
            async with service.connect(server.settings, "executor") as second, second.serve({EXEC: hang}):
                with pytest.raises(Aborted):
                    await asking

    with_server(scenario)


def test_a_deadline_is_an_unknown_end(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async def create(request: CreatePod) -> PodCreated:
            await asyncio.Event().wait()
            return PodCreated()

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
        ):
            serving = executor.serve({CREATE_POD: create})
            await serving.__aenter__()
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await manager.call(CREATE_POD, CreatePod(pod="x"), timeout=0.1)
            assert time.monotonic() - began < 2

    with_server(scenario)


def test_a_killed_bus_fails_calls_clearly_and_then_works_again(with_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)

    async def scenario(server: Any) -> None:
        async def create(request: CreatePod) -> PodCreated:
            return PodCreated(pid=9)

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
            executor.serve({CREATE_POD: create}),
        ):
            await server.kill()
            await manager.connection.down.wait()
            with pytest.raises(Unavailable, match="bus is away"):
                await manager.call(CREATE_POD, CreatePod(pod="x"))
            monkeypatch.setattr(client, "PATIENCE", 5.0)
            asking = asyncio.create_task(manager.call(CREATE_POD, CreatePod(pod="x")))
            await server.start()
            assert (await asking).pid == 9

    with_server(scenario)


def test_a_wrong_message_is_the_callers_fault(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async def create(request: CreatePod) -> PodCreated:
            return PodCreated()

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as manager,
            executor.serve({CREATE_POD: create}),
        ):
            with pytest.raises(InvalidArgument, match="pod"):
                await manager.call(CREATE_POD, CreatePod(pod=3))  # type: ignore[arg-type]

    with_server(scenario)


def test_that_nobody_is_there_is_told_at_once_to_whom_can_find_out_why(with_server: Any, monkeypatch: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as manager:
            told: list[Any] = []
            feed = client._Waiting.feed

            def fed(waiting: client._Waiting, msg: Any) -> None:
                told.append(msg)
                feed(waiting, msg)

            monkeypatch.setattr(client._Waiting, "feed", fed)
            with pytest.raises(Unavailable, match="nobody serves"):
                await manager.call(EXEC_SYNC, ExecSync(container="c", cmd=["x"]), id="c")
            assert len(told) == 1

    with_server(scenario)


@pytest.mark.parametrize("how", ["its time is up", "it is cancelled"])
def test_a_call_that_was_given_up_while_nobody_could_be_told_is_known_to_be(with_server: Any, how: str) -> None:
    """Else what was made for it would belong to a caller who is gone, for as long as his process lives."""

    async def scenario(server: Any) -> None:
        begun = asyncio.Queue[str]()

        async def hang(request: CreatePod) -> PodCreated:
            begun.put_nowait(log.current("caller"))
            await asyncio.Event().wait()
            raise AssertionError

        async with (
            service.connect(server.settings, "manager") as bus,
            service.connect(server.settings, "executor") as first,
            first.serve({CREATE_POD: hang}),
        ):
            timeout = 0.5 if how == "its time is up" else 20.0
            asking = asyncio.create_task(bus.call(CREATE_POD, CreatePod(pod="x"), timeout=timeout))
            caller = await begun.get()
            assert await first.connection.waits(caller)
            await server.kill()
            await first.connection.down.wait()
            await bus.connection.down.wait()
            if timeout > 1:
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await server.start()
            await first.connection.up.wait()
            await bus.connection.up.wait()
            assert not await first.connection.waits(caller)

    with_server(scenario)
