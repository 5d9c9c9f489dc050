"""The shim's answers, where no other test of this room asks for them."""

import asyncio

import pytest
from cribus.api import shim
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


def test_two_shims_of_one_pod_cannot_be(rig: Rig) -> None:
    rig.shim(POD)
    second = rig.shim(POD, wait=False)
    assert second.wait(10) != 0


def test_a_shim_ends_when_its_pod_is_struck_off(rig: Rig) -> None:
    process = rig.shim(POD)
    (rig.pod(POD) / "shim.json").unlink()
    assert process.wait(20) == 0
