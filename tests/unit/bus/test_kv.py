"""Records on the real server: all of them or an error, and no trace after a delete."""

import asyncio
from typing import Any

from cribus.bus import service


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
