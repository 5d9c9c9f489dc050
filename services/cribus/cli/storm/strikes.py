"""Strikes, and how long the node needs to get over each: until every kind of call works again."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from cribus.api import shimd
from cribus.api.verb import Empty
from cribus.bus.connection import RETRY, pause
from cribus.bus.service import Bus
from cribus.cli.storm import plan, victims
from cribus.cli.storm.client import PATIENCE, Client
from cribus.cli.storm.evidence import Hit
from cribus.cli.storm.victims import FORK_SERVER, Own, Process
from cribus.config import Settings
from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition, NotFound, Unavailable

# Which call needs a victim: it has recovered when another is in its place and this works.
LIST, IMAGES, EXEC, SHIMS, ITS_OWN = "ListPodSandbox", "ListImages", "ExecSync", "list_shims", "ExecSync there"
NEEDS = {
    "shim": ITS_OWN,
    "keeper": ITS_OWN,
    "executor": EXEC,
    "shimd": SHIMS,
    "images": IMAGES,
    "manager": LIST,
    "gateway": LIST,
    "nats": LIST,
    "supervisord": EXEC,
}


class Striker(NamedTuple):
    """`living` says which containers of the storm run; the first of them is there from the start to the end."""

    settings: Settings
    client: Client
    bus: Bus
    living: Callable[[], list[Own]]

    async def strike(self, planned: plan.Strike, since: float) -> Hit:
        """Make it, and wait until the node has recovered; `since`: when the storm began, as time.monotonic."""
        await pause(planned.pause)
        own = self._own(planned)
        try:
            there = await self._found(planned, own)
        except CribusError as error:
            return Hit(planned, round(time.monotonic() - since, 3), {}, trouble=error.message)
        at = time.monotonic()
        hit = Hit(planned, round(at - since, 3), {kind: one.pid for kind, one in there.items()})
        for one in there.values():
            victims.strike(one, planned.signal)
        try:
            await self._recovered(hit, there, own)
        except CribusError as error:
            hit.trouble = f"{planned.signal} to {' and '.join(planned.victims)}: {error.message}"
        finally:
            for one in there.values():
                one.close()
        return hit

    def _own(self, planned: plan.Strike) -> Own:
        living = self.living()
        return living[int(planned.which * len(living))]

    async def _found(self, planned: plan.Strike, own: Own) -> dict[str, Process]:
        """The victims. One of a pod that has just gone is looked for in the pod that is always there.

        Raises DeadlineExceeded when a service does not come.
        """
        there: dict[str, Process] = {}
        end = time.monotonic() + PATIENCE
        while missing := [kind for kind in planned.victims if kind not in there]:
            for kind in missing:
                process = victims.find(self.settings, kind, own)
                if process is None and kind in plan.POD_PARTS:
                    process = victims.find(self.settings, kind, self.living()[0])
                if process is not None:
                    there[kind] = process
            if time.monotonic() > end:
                for one in there.values():
                    one.close()
                raise DeadlineExceeded(f"there is no {' and no '.join(missing)} within {PATIENCE:g} s")
            if len(there) < len(planned.victims):
                await pause(RETRY)
        return there

    async def _recovered(self, hit: Hit, there: dict[str, Process], own: Own) -> None:
        at = time.monotonic()
        works: dict[str, float] = {}

        async def probe(call: str) -> None:
            await self._works(call, own)
            works[call] = time.monotonic() - at

        async def succeeded(kind: str, process: Process) -> None:
            if hit.plan.signal == "STOP" and kind == "keeper":
                await victims.moves(process)  # it is not replaced: docs/decisions/0018-hung-and-fenced.md
            else:
                await victims.gone(process, PATIENCE)
                await victims.successor(self.settings, kind, process.pid, own)
            works[kind] = time.monotonic() - at

        async with asyncio.timeout(PATIENCE * 2):
            if hit.plan.signal == "KILL":  # what is asked before that may still be answered by the dead
                for process in there.values():
                    await victims.gone(process, PATIENCE)
            calls = {LIST, IMAGES, EXEC, SHIMS} | ({ITS_OWN} if set(there) & set(plan.POD_PARTS) else set())
            waits = [asyncio.ensure_future(probe(call)) for call in sorted(calls)]
            waits += [asyncio.ensure_future(succeeded(kind, process)) for kind, process in there.items()]
            try:
                await asyncio.gather(*waits)
            finally:  # nobody may still wait for a descriptor that is closed next: another may get its number
                for one in waits:
                    one.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        hit.whole = round(max(works.values()), 4)
        for kind in there:
            needed = NEEDS[kind.removesuffix(FORK_SERVER)]
            hit.recovered[kind] = round(max(works[kind], works[needed]), 4)

    async def _works(self, call: str, own: Own) -> None:
        """Return once this call succeeds. Raises CribusError."""
        if call == SHIMS:
            return await self._shims()
        if call == LIST:
            await self.client.ask(LIST, filter={"id": self.living()[0].pod})
        elif call == IMAGES:
            await self.client.ask(IMAGES)
        elif call == EXEC:
            await self._exec(self.living()[0])
        else:
            try:
                await self._exec(own)
            except (NotFound, FailedPrecondition):
                return None  # it ended meanwhile, and that is an answer
        return None

    async def _exec(self, own: Own) -> None:
        await self.client.ask(EXEC, container_id=own.container, cmd=["true"], timeout=10)

    async def _shims(self) -> None:
        """As nothing of CRI asks the shim supervisor alone."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                await self.bus.call(shimd.LIST_SHIMS, Empty(), timeout=PATIENCE)
            except (Unavailable, DeadlineExceeded):
                if time.monotonic() > end:
                    raise
                await pause(RETRY)
            else:
                return
