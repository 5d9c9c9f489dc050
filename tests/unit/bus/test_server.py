"""What the serving side owes a caller: one run an id, deadlines kept, one cause out of many."""

import asyncio
import time
from typing import Any

import pytest
from cribus.api.executor import CREATE_POD, DELETE_POD, CreatePod, DeletePod, PodCreated
from cribus.api.verb import Empty
from cribus.bus import codec, service
from cribus.errors import DeadlineExceeded, FailedPrecondition, Internal, Unimplemented


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
            late = codec.Meta(id="late", deadline=time.time_ns() - 1)
            with pytest.raises(DeadlineExceeded):
                codec.result(PodCreated, await _raw(bus, subject, late, CreatePod(pod="x")))
            assert runs == 1
            with pytest.raises(Unimplemented):
                codec.result(PodCreated, await _raw(bus, "cribus.unit.executor.later", codec.Meta(id="v"), Empty()))

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
            raise ValueError("oops")

        async with (
            service.connect(server.settings, "executor") as executor,
            service.connect(server.settings, "manager") as bus,
            executor.serve({CREATE_POD: create, DELETE_POD: delete}),
        ):
            with pytest.raises(FailedPrecondition, match="the real cause"):
                await bus.call(CREATE_POD, CreatePod(pod="x"))
            with pytest.raises(Internal, match="oops"):
                await bus.call(DELETE_POD, DeletePod(pod="x"))

    with_server(scenario)
