"""Records on the real server: all of them or an error, and no trace after a delete."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cribus import pulse
from cribus.bus import service
from cribus.bus.kv import Records
from cribus.pulse import Own, Page


def test_records_are_whole_after_a_kill_of_the_server(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.kv.ensure()
            assert await bus.kv.load_all() == {}
            async with asyncio.TaskGroup() as group:
                for k in range(600):
                    group.create_task(bus.kv.put(f"sandboxes.{k}", b"%d" % k))
            await bus.kv.put("sandboxes.7", b"seven")
            await bus.kv.delete("sandboxes.8")
            await bus.kv.delete("sandboxes.8")
            await server.kill()
            await server.start()
            found = await bus.kv.load_all()
            assert len(found) == 599
            assert found["sandboxes.7"] == b"seven"
            assert "sandboxes.8" not in found
            await bus.kv.claim()
            for key in found:
                await bus.kv.delete(key)
            assert (await bus.kv._js.stream_info("KV_cribus_unit")).state.messages == 0

    with_server(scenario)


def test_a_bucket_that_is_deleted_is_made_again(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.kv.ensure()
            made: list[int] = []
            bus.kv.on_made.append(lambda: made.append(1))
            await bus.kv.put("sandboxes.a", b"a")
            assert made == []
            for again in (bus.kv.put("sandboxes.b", b"b"), bus.kv.delete("sandboxes.a"), bus.kv.load_all()):
                await bus.connection.nats.jetstream().delete_stream("KV_cribus_unit")
                await again
            assert made == [1, 1, 1]
            assert await bus.kv.load_all() == {}

    with_server(scenario)


class Ended(BaseException):
    """In the place of the process's end."""


class Doomed(Own):
    """As a process that has a successor."""

    def check(self) -> None:
        if not self.current():
            raise Ended


def _sent_later(records: Records, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Stop it exactly before it hands a message to the system, all its looks at its successor behind it:
    (it is there, it may go on)."""
    there, on = asyncio.Event(), asyncio.Event()
    nats = records._connection.nats
    request = nats.request

    async def later(*args: Any, **kwargs: Any) -> Any:
        there.set()
        await on.wait()
        return await request(*args, **kwargs)

    monkeypatch.setattr(nats, "request", later)
    return there, on


def test_what_a_process_was_about_to_put_when_it_was_replaced_is_refused_by_the_bus(
    with_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(server: Any) -> None:
        page = Page(str(tmp_path))
        page.ensure()
        monkeypatch.setattr(pulse, "own", former := Doomed(page, "manager", page.begin("manager")))
        async with (
            service.connect(server.settings, "manager") as old,
            service.connect(server.settings, "manager") as new,
        ):
            await old.kv.claim()
            await old.kv.put("sandboxes.a", b"old")
            there, on = _sent_later(old.kv, monkeypatch)
            stopped = [asyncio.create_task(old.kv.put(f"sandboxes.{key}", b"late")) for key in "ab"]
            await there.wait()
            page.begin("manager")
            monkeypatch.setattr(pulse, "own", None)
            await new.kv.claim()
            await new.kv.put("sandboxes.a", b"new")
            monkeypatch.setattr(pulse, "own", former)
            on.set()
            assert [type(end) for end in await asyncio.gather(*stopped, return_exceptions=True)] == [Ended, Ended]
            monkeypatch.setattr(pulse, "own", None)
            assert await new.kv.load_all() == {"sandboxes.a": b"new"}

    with_server(scenario)


def test_a_writer_whose_fence_was_taken_by_one_that_is_gone_claims_it_again(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with (
            service.connect(server.settings, "manager") as one,
            service.connect(server.settings, "manager") as two,
        ):
            await one.kv.claim()
            await two.kv.claim()
            await asyncio.gather(*(one.kv.put(f"sandboxes.{k}", b"one") for k in range(20)))
            assert len(await two.kv.load_all()) == 20

    with_server(scenario)
