"""A connection, from its first byte to its last: it registers, is configured, is told what exists, and is
asked from then on. Whoever does not get that far costs nobody but himself."""

import asyncio
import contextlib
import logging

from cribus.manager.nri.link import Lost, Refused, Streams
from cribus.manager.nri.plugin import Launched, Plugin
from cribus.manager.nri.rounds import Rounds

_logger = logging.getLogger(__name__)


async def admit(rounds: Rounds, streams: Streams, launched: Launched | None = None) -> None:
    """Serve one plugin until it is gone."""
    plugin = Plugin(streams, rounds.updated, launched)
    reading = asyncio.ensure_future(plugin.run())
    try:
        await plugin.register(rounds.settings, rounds.runtime.version)
        await rounds.join(plugin)
        if launched is not None:
            launched.ready.set()
        await reading
        _logger.info("NRI plugin gone", extra={"plugin": plugin.name, "cause": plugin.link.over})
    except (Lost, Refused) as error:
        plugin.throw_out(str(error))
    finally:
        plugin.link.close("the manager stops")
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
