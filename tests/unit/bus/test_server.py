"""What the serving side owes a caller: one run an id, deadlines kept, one cause out of many."""

import asyncio
import contextlib
import errno
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cribus import log, pulse
from cribus.api.executor import CREATE_POD, DELETE_POD, EXEC, CreatePod, DeletePod, Exec, Execed, PodCreated
from cribus.api.verb import Empty
from cribus.bus import codec, service
from cribus.bus.client import passing_on
from cribus.bus.server import _explained
from cribus.errors import Aborted, DeadlineExceeded, FailedPrecondition, Internal, ResourceExhausted, Unimplemented
from cribus.pulse import Own, Page


async def _raw(bus: Any, subject: str, meta: codec.Meta, message: Any) -> Any:
    answer = await bus.connection.nats.request(subject, codec.pack_request(meta, message), timeout=5)
    return codec.Answer().feed(answer.data)


def test_a_repeated_id_gets_the_same_answer_and_one_run(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        runs = 0

        async def create(request: CreatePod) -> PodCreated:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            return PodCreated(pid=runs)

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create}),
        ):
            meta = codec.Meta(id="same")
            subject = "cribus.unit.executor.create_pod"
            answers = await asyncio.gather(*(_raw(bus, subject, meta, CreatePod(pod="x")) for _ in range(5)))
            answers.append(await _raw(bus, subject, meta, CreatePod(pod="x")))
            assert [one["body"]["pid"] for one in answers] == [1] * 6
            late = codec.Meta(id="late", until=time.monotonic_ns() - 1)
            with pytest.raises(DeadlineExceeded):
                codec.result(PodCreated, await _raw(bus, subject, late, CreatePod(pod="x")))
            assert runs == 1
            with pytest.raises(Unimplemented):
                codec.result(PodCreated, await _raw(bus, "cribus.unit.executor.later", codec.Meta(id="v"), Empty()))

    with_server(scenario)


def test_a_large_answer_is_not_kept(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        runs = []

        async def create(request: CreatePod) -> PodCreated:
            runs.append(request.pod)
            return PodCreated(cgroup="x" * (len(request.pod) * 10_000))

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create}),
        ):
            for pod in ("x", "x", "xx", "xx"):
                await _raw(bus, "cribus.unit.executor.create_pod", codec.Meta(id=pod), CreatePod(pod=pod))
            assert runs == ["x", "xx", "xx"]

    with_server(scenario)


def test_one_cause_out_of_a_group_and_a_defect_is_internal(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async def fails(error: Exception) -> None:
            raise error

        async def create(request: CreatePod) -> PodCreated:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails(FailedPrecondition("the real cause")))
            return PodCreated()

        async def delete(request: DeletePod) -> Empty:
            raise ConnectionError("the fork server has gone") if request.pod == "y" else ValueError("oops")

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create, DELETE_POD: delete}),
        ):
            with pytest.raises(Aborted, match="fork server has gone"):
                await bus.call(DELETE_POD, DeletePod(pod="y"))
            with pytest.raises(FailedPrecondition, match="the real cause"):
                await bus.call(CREATE_POD, CreatePod(pod="x"))
            with pytest.raises(Internal, match="oops"):
                await bus.call(DELETE_POD, DeletePod(pod="x"))

    with_server(scenario)


def test_what_the_host_is_short_of_is_no_defect() -> None:
    short = _explained("exec", OSError(errno.EAGAIN, "Resource temporarily unavailable", "clone3"))
    assert isinstance(short, ResourceExhausted)
    assert "Resource temporarily unavailable" in str(short)
    assert isinstance(_explained("exec", RuntimeError("can't start new thread")), ResourceExhausted)
    assert isinstance(_explained("exec", OSError(errno.EPERM, "no", "x")), Internal)


def test_who_stops_waits_longer_for_what_must_not_run_twice(with_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cribus.bus.server._DRAIN", 0.1)

    async def scenario(server: Any) -> None:
        begun, release, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def exec(request: Exec) -> Execed:
            begun.set()
            await release.wait()
            return Execed(pid=7)

        async def serving(executor: service.Bus) -> None:
            async with executor.serve({EXEC: exec}):
                await stop.wait()

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "shim") as bus,
        ):
            served = asyncio.create_task(serving(executor))
            asked = asyncio.create_task(bus.call(EXEC, Exec(container="c", pod="p", exec_id="e", args=["true"])))
            await begun.wait()
            stop.set()
            await asyncio.wait({served, asked}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            assert not served.done()
            release.set()
            assert (await asked).pid == 7
            await served

    with_server(scenario)


def test_an_answer_that_reaches_nobody_is_told(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        release, told = asyncio.Event(), asyncio.Queue[int]()

        async def create(request: CreatePod) -> PodCreated:
            await release.wait()
            return PodCreated(pid=len(request.pod))

        async def unheard(answer: PodCreated) -> None:
            told.put_nowait(answer.pid)

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as alive,
            executor.serve({CREATE_POD: create}, {CREATE_POD: unheard}),
        ):
            async with service.connect(server.settings, "manager") as killed:
                asked = codec.pack_request(codec.Meta(id="killed"), CreatePod(pod="x"))
                reply = killed.connection.reply_to("killed")
                await killed.connection.send("cribus.unit.executor.create_pod", asked, reply)
                await killed.connection.nats.flush()
            leaving = asyncio.create_task(alive.call(CREATE_POD, CreatePod(pod="xx")))
            await asyncio.wait({leaving}, timeout=0.1)
            leaving.cancel()
            await asyncio.wait({leaving})
            staying = asyncio.create_task(alive.call(CREATE_POD, CreatePod(pod="xxx")))
            await alive.connection.nats.flush()
            release.set()
            assert (await staying).pid == 3
            assert sorted([await told.get(), await told.get()]) == [1, 2]
            assert told.empty()

    with_server(scenario)


def test_an_answer_that_was_taken_and_could_not_be_passed_on_is_told_too(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        callers: list[str] = []
        told = asyncio.Queue[str]()

        async def create(request: CreatePod) -> PodCreated:
            callers.append(log.current("caller"))
            return PodCreated(pid=1)

        async def unheard(answer: PodCreated) -> None:
            told.put_nowait(log.current("caller"))

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create}, {CREATE_POD: unheard}) as serving,
        ):
            with passing_on() as leaves:
                await bus.call(CREATE_POD, CreatePod(pod="x"))
            await bus.call(CREATE_POD, CreatePod(pod="y"))
            assert [await serving.listened(one) for one in callers] == [True, True]
            (leave,) = leaves
            await leave()
            assert await told.get() == callers[0]
            assert [await serving.listened(one) for one in callers] == [False, True]

    with_server(scenario)


def test_what_is_cut_short_by_a_stop_is_for_the_next_process(with_server: Any) -> None:
    """A call that may be repeated is not answered by a process that leaves: its repeat finds the next one."""

    async def scenario(server: Any) -> None:
        begun = asyncio.Event()

        async def hang(request: CreatePod) -> PodCreated:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def create(request: CreatePod) -> PodCreated:
            return PodCreated(pid=2)

        async with service.connect(server.settings, "manager") as bus:
            async with service.connect(server.settings, "executor") as first, first.serve({CREATE_POD: hang}):
                asking = asyncio.create_task(bus.call(CREATE_POD, CreatePod(pod="x"), timeout=20.0))
                await begun.wait()
            async with service.connect(server.settings, "executor") as second, second.serve({CREATE_POD: create}):
                assert (await asking).pid == 2

    with_server(scenario)


def test_requests_on_their_way_to_a_process_that_stops_are_answered(with_server: Any) -> None:
    """Also those that must not run twice, which a repeat could not save."""

    async def scenario(server: Any) -> None:
        async def run(request: Exec) -> Execed:
            return Execed(pid=1)

        async with service.connect(server.settings, "shim") as bus:
            async with service.connect(server.settings, "executor") as executor, executor.serve({EXEC: run}):
                await bus.call(EXEC, Exec(container="c", pod="p", exec_id="e", args=["x"]))
                wanted = [Exec(container="c", pod="p", exec_id=f"{k}", args=["x"]) for k in range(200)]
                asking = [asyncio.create_task(bus.call(EXEC, one, timeout=20.0)) for one in wanted]
                await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            async with service.connect(server.settings, "executor") as second, second.serve({EXEC: run}):
                assert [one.pid for one in await asyncio.gather(*asking)] == [1] * 200

    with_server(scenario)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """On which there are a manager and an executor, which is us."""
    (tmp_path / "supervisor").mkdir()
    one = Page(str(tmp_path))
    one.ensure()
    one.begin("manager")
    monkeypatch.setattr(pulse, "own", Own(one, "executor", one.begin("executor")))
    return one


def test_whoever_has_a_successor_is_refused(with_server: Any, page: Page) -> None:
    async def scenario(server: Any) -> None:
        runs = []

        async def create(request: CreatePod) -> PodCreated:
            runs.append(request.pod)
            return PodCreated()

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create}),
        ):
            subject, now = "cribus.unit.executor.create_pod", page.generation("manager")
            for pod, program, generation in (("a", "", 0), ("b", "manager", now), ("c", "manager", now - 1)):
                meta = codec.Meta(id=pod, program=program, generation=generation)
                answer = await _raw(bus, subject, meta, CreatePod(pod=pod))
                assert answer["generation"] == page.generation("executor")
            with pytest.raises(FailedPrecondition, match="of manager has a successor"):
                codec.result(PodCreated, answer)
            assert runs == ["a", "b"]

    with_server(scenario)


def test_a_process_that_hangs_gets_none_of_its_successors_requests(with_server: Any, page: Page) -> None:
    async def scenario(server: Any) -> None:
        runs: list[int] = []

        def counting(generation: int) -> Any:
            async def create(request: CreatePod) -> PodCreated:
                runs.append(generation)
                return PodCreated()

            return {CREATE_POD: create}

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            contextlib.AsyncExitStack() as stack,
        ):
            nats = await asyncio.create_subprocess_exec(*_subscriber(server), stdout=asyncio.subprocess.PIPE)
            stack.callback(nats.kill)
            assert nats.stdout
            await nats.stdout.readline()
            nats.send_signal(signal.SIGSTOP)
            await stack.enter_async_context(executor.serve(counting(3)))
            for _ in range(20):
                await bus.call(CREATE_POD, CreatePod(pod="x"), timeout=0.4)
            assert runs == [3] * 20

    with_server(scenario)


def _subscriber(server: Any) -> list[str]:
    """A process in the queue group of the generation before."""
    script = """
import asyncio, sys
from cribus import config
from cribus.bus import credentials
from cribus.bus.connection import Connection

async def nothing(msg):
    pass

async def main():
    settings = config.Settings(node="unit", root=sys.argv[1], bus=config.Bus(listen=sys.argv[2]))
    connection = Connection(credentials.login(settings, "executor"))
    await connection.open()
    await connection.nats.subscribe("cribus.unit.executor.*", queue="executor.2", cb=nothing)
    await connection.nats.flush()
    print("here", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    return [sys.executable, "-c", script, server.settings.root, server.settings.bus.listen]
