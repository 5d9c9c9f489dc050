"""The shim's answers, where no other test of this room asks for them."""

import asyncio

import pytest
from cribus.api import events, executor, shim
from cribus.bus import service
from cribus.errors import InvalidArgument, NotFound

from tests.unit.shim.rig import Rig

POD = "a" * 64


def test_what_a_pod_does_not_have(rig: Rig) -> None:
    rig.shim(POD)

    async def main() -> None:
        async with service.connect(rig.settings, "manager") as bus:
            with pytest.raises(InvalidArgument, match="belongs to pod"):
                await bus.call(shim.TAKE, shim.Take(container="c", pod="other"), id=POD)
            with pytest.raises(NotFound):
                await bus.call(shim.REOPEN_LOG, shim.Named(container="c"), id=POD)
            await bus.call(shim.RELEASE, shim.Named(container="c"), id=POD)

    asyncio.run(main())


@pytest.mark.parametrize("again", [False, True], ids=["this-start", "made-again"])
def test_an_end_that_the_executor_has_not_seen_either(rig: Rig, again: bool) -> None:
    """Keeper, init and shim die together; what the executor says may be about a start that was made again since."""
    one = rig.container("c" * 64, ["sleep", "1000"])
    first = rig.shim(POD)
    asked = asyncio.Semaphore(0)

    async def state(_: executor.Named) -> executor.State:
        asked.release()
        return executor.State(container=one.id, pid=one.pid + again)

    async def main() -> None:
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(30):
            await bus.events.ensure()
            await bus.call(shim.TAKE, shim.Take(container=one.id, pod=POD), id=POD)
            rig.end(first)
            rig.end(one.keeper)
            one.kill()
            assert one.dead()
            async with (
                service.connect(rig.settings, "executor") as theirs,
                theirs.serve({executor.STATE: state}),
            ):
                await asyncio.to_thread(rig.shim, POD)
                if again:
                    for _ in range(3):  # asked again, so it has heard the answer before
                        await asyncio.wait_for(asked.acquire(), 20)
                    assert not list((rig.pod(POD) / "exits").iterdir())
                else:
                    seen = await anext(bus.follow(events.EXITED, since=0))
                    assert (seen.event.id, seen.event.exit_known, seen.event.exit_code) == (one.id, False, 255)

    asyncio.run(main())


def test_two_shims_of_one_pod_cannot_be(rig: Rig) -> None:
    rig.shim(POD)
    second = rig.shim(POD, wait=False)
    assert second.wait(10) != 0


def test_a_shim_ends_when_its_pod_is_struck_off(rig: Rig) -> None:
    process = rig.shim(POD)
    (rig.pod(POD) / "shim.json").unlink()
    assert process.wait(20) == 0
