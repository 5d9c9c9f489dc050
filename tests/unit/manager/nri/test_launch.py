"""Plugins that the manager starts from a folder: real programs."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus.config import Nri
from cribus.manager.nri import launch

from tests.nri import program
from tests.unit.manager.conftest import Run, World
from tests.unit.manager.nri.conftest import serving, spec

WORKS = """
def created(request):
    text = plugin.configured.config
    return m.CreateContainerResponse(adjust=m.ContainerAdjustment(env=[m.KeyValue(key="SAID", value=text)]))
plugin.answers = {"CreateContainer": created}
print("about to register", flush=True)
plugin.register()
plugin.over.wait()
"""


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    nri = Nri(
        socket=f"{tmp_path}/nri.sock",
        registration_timeout=5.0,
        request_timeout=0.5,
        plugins=f"{tmp_path}/plugins",
        plugin_configs=f"{tmp_path}/conf.d",
    )
    world.settings = msgspec.structs.replace(world.settings, nri=nri)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "plugins").mkdir()
    return tmp_path


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(one) for one in caplog.records if one.message == event]


def test_a_program_is_asked_from_the_start_and_goes_with_the_manager(
    folder: Path, world: World, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    program(folder / "plugins", "07-works", WORKS + f"open({str(folder / 'gone')!r}, 'w').close()")
    (folder / "conf.d" / "works.conf").write_text("by its name")
    caplog.set_level("INFO")
    before = _children()

    async def story() -> None:
        async with serving(world.boot()):
            rounds = world.node.nri._rounds
            assert rounds is not None
            (plugin,) = rounds._plugins
            assert plugin.name == "07-works"
            container = await world.created(await world.pod())
            assert "SAID=by its name" in spec(world, container)["process"]["env"]

    run(story())
    assert said(caplog, "an NRI plugin says")[0]["line"] == "about to register"
    assert _children() <= before


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_its_own_configuration_goes_first(tmp_path: Path) -> None:
    one = launch.Program("07", "works", "/x/07-works")
    assert launch.configuration(str(tmp_path), one) == ""
    (tmp_path / "works.conf").write_text("any")
    (tmp_path / "07-works.conf").write_text("this")
    assert launch.configuration(str(tmp_path), one) == "this"


def test_bad_ones_are_told_and_hinder_nobody(
    folder: Path, world: World, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = folder / "plugins"
    for name, script in (("00-ends", "sys.exit(3)"), ("01-rubbish", "trunk.sendall(b'x' * 99); plugin.over.wait()")):
        program(plugins, name, script)
    (plugins / "02-broken").write_text("#!/nowhere/interpreter\n")
    (plugins / "readme").write_text("no program")
    (plugins / "tool").write_text("#!/bin/sh\n")
    for name in ("02-broken", "tool"):
        (plugins / name).chmod(0o755)
    (plugins / "folder").mkdir()
    program(plugins, "03-works", WORKS)

    async def story() -> None:
        async with serving(world.boot()):
            rounds = world.node.nri._rounds
            assert rounds is not None
            assert [one.name for one in rounds._plugins] == ["03-works"]
            assert await world.created(await world.pod())

    run(story())
    assert [one["path"] for one in said(caplog, "not an NRI plugin: its name is not NN-name")] == [f"{plugins}/tool"]
    assert {one["plugin"] for one in said(caplog, "NRI plugin thrown out")} == {"00-ends", "01-rubbish", "02-broken"}


def test_one_that_does_not_register_costs_its_deadline(folder: Path, world: World, run: Run) -> None:
    program(folder / "plugins", "00-mute", "import time; time.sleep(100)")
    short = msgspec.structs.replace(world.settings.nri, registration_timeout=0.5)
    world.settings = msgspec.structs.replace(world.settings, nri=short)
    before = _children()

    async def story() -> None:
        async with serving(world.boot()):
            assert world.node.nri._busy() is None
            assert await world.created(await world.pod())
        assert _children() <= before

    run(story())
