"""The socket, and what it costs that nobody is connected."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cribus.config import Nri
from cribus.manager.nri import messages as m
from cribus.manager.nri.front import Front

from tests.unit.manager.conftest import Run, World
from tests.unit.manager.nri.conftest import Staged, serving, sometime


def test_with_no_plugin_nothing_of_nri_is_loaded() -> None:
    script = "import json, sys, cribus.manager.__main__; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    loaded = {name.rpartition(".")[2] for name in json.loads(done.stdout) if ".manager.nri." in name}
    assert loaded == {"front", "events", "existing"}


def test_with_no_plugin_nothing_waits(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            await stage.world.running(await stage.world.pod())
            assert stage.node.nri._rounds is None

    run(story())


def test_no_socket_when_none_is_named(world: World, run: Run) -> None:
    world.settings = msgspec.structs.replace(world.settings, nri=Nri(socket=""))

    async def story() -> None:
        async with serving(world.boot()):
            await world.running(await world.pod())

    run(story())


def test_a_socket_that_cannot_be_made_is_told_and_no_reason_to_stop(
    world: World, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    world.settings = msgspec.structs.replace(world.settings, nri=Nri(socket=str(tmp_path / "file" / "nri.sock")))

    async def story() -> None:
        async with serving(world.boot()):
            await world.running(await world.pod())

    run(story())
    assert "no NRI" in caplog.text


def test_only_root_may_connect_and_what_was_there_before_is_replaced(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert stage.path.stat().st_mode & 0o777 == 0o600
            assert stage.path.parent.stat().st_mode & 0o777 == 0o700
            assert [path.name for path in stage.path.parent.iterdir()] == ["nri.sock"]
            before = stage.path.stat().st_ino
            front = Front(stage.world.settings.nri, stage.node.records, str)
            async with serving_front(front):
                assert stage.path.stat().st_ino != before
            assert not stage.path.exists()

    run(story())


def serving_front(front: Front):  # type: ignore[no-untyped-def]
    async def nothing(*given: object) -> None: ...

    return front.serving("0", nothing, nothing)


def test_an_older_manager_that_ends_leaves_the_newer_ones_socket(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            newer = Front(stage.world.settings.nri, stage.node.records, str)
            older = Front(stage.world.settings.nri, stage.node.records, str)
            held = serving_front(older)
            await held.__aenter__()
            async with serving_front(newer):
                await held.__aexit__(None, None, None)
                assert stage.path.exists()

    run(story())


def test_a_failure_of_ours_is_told(staged: Staged, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.stranger("00-x", {"Configure": lambda _: None})
            await sometime(lambda: stage.node.nri._rounds)
            rounds = stage.node.nri._rounds
            assert rounds is not None

            async def broken(plugin: object) -> None:
                raise ZeroDivisionError

            rounds.join = broken  # type: ignore[method-assign]
            await asyncio.to_thread(
                plugin.call, "RegisterPlugin", m.RegisterPluginRequest(plugin_name="x", plugin_idx="00")
            )
            assert await asyncio.to_thread(plugin.over.wait, 5)
            assert "could not be served" in caplog.text

    run(story())
