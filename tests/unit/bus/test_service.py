import asyncio
import json
import os
import signal
from typing import Any

from cribus.api.images import Progress
from cribus.bus import codec, service, subjects


def test_a_service_answers_the_admin_protocol_and_tells_progress(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with (
            service.connect(server.settings, "images") as images,
            service.connect(server.settings, "cli") as cli,
        ):
            answer = await cli.connection.nats.request("$SRV.PING.cribus-images", timeout=5)
            found = json.loads(answer.data)
            assert (found["name"], found["metadata"]["node"]) == ("cribus-images", "unit")
            heard = await cli.connection.nats.subscribe(subjects.progress("unit", "p1"))
            await cli.connection.nats.flush()
            await images.tell("p1", Progress(layer="l", stage="fetching", done=1, total=2))
            message = await heard.next_msg(timeout=5)
            assert codec.unpack_message(Progress, message.data).total == 2

    with_server(scenario)


def test_sigterm_ends_a_service() -> None:
    async def main() -> None:
        waiting = asyncio.create_task(service.until_told_to_stop())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(main())
