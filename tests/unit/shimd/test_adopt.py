import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from cribus.shimd import adopt

from tests.harness import until
from tests.unit.shim.rig import Rig

POD = "a" * 64


def test_nobody_there(tmp_path: Path) -> None:
    assert asyncio.run(adopt.find(str(tmp_path / "none"))) is None
    assert asyncio.run(adopt.find(str(tmp_path))) is None
    assert asyncio.run(adopt.healthy(str(tmp_path))) is False


def test_a_live_one_is_found(rig: Rig) -> None:
    process = rig.shim(POD)

    async def main() -> None:
        found = await adopt.find(str(rig.pod(POD)))
        assert found is not None
        assert found.pid == process.pid
        assert await adopt.healthy(str(rig.pod(POD)))
        found.kill()
        await adopt.gone(found)
        found.kill()
        os.close(found.pidfd)

    asyncio.run(main())
    assert asyncio.run(adopt.find(str(rig.pod(POD)))) is None


def test_a_hung_one_is_killed_and_counts_as_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "PATIENCE", 0.3)
    process = rig.shim(POD)
    process.send_signal(signal.SIGSTOP)
    assert asyncio.run(adopt.find(str(rig.pod(POD)))) is None
    until(lambda: process.poll() is not None, 5, "it is dead")


def test_one_that_nobody_can_find_is_found_by_its_directory(rig: Rig) -> None:
    known, lost = rig.shim(POD), rig.shim("b" * 64)
    shutil.rmtree(rig.pod("b" * 64))
    (found,) = adopt.lost(str(rig.run), {known.pid})
    assert found.pid == lost.pid
    assert adopt.lost("/run/elsewhere", set()) == []
    found.kill()
    os.close(found.pidfd)
    until(lambda: lost.poll() is not None, 5, "it is dead")
    assert adopt.lost(str(rig.run), {known.pid}) == []
