"""Progress of a pull, from the bus to standard error."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cribus.api.images import Progress
from cribus.cli.output import progress


def test_lines_say_each_layer_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress.Lines()
    for stage in ("waiting", "fetching", "done", "done"):
        lines.show(Progress(layer="sha256:" + "a" * 64, stage=stage, done=1, total=2))
    lines.show(Progress(layer="sha256:" + "b" * 64, stage="present"))
    lines.close()
    assert capsys.readouterr().err == "aaaaaaaaaaaa done\nbbbbbbbbbbbb present\n"


def test_bars_end_full(capsys: pytest.CaptureFixture[str]) -> None:
    bars = progress.Bars()
    bars.show(Progress(layer="sha256:" + "a" * 64, stage="fetching", done=1, total=4))
    bars.show(Progress(layer="sha256:" + "a" * 64, stage="done"))
    [task] = bars._live.tasks
    bars.close()
    assert task.finished
    assert capsys.readouterr().out == ""


def test_over_the_bus(
    with_server: Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(server: Any) -> None:
        from cribus.bus import service

        async with (
            service.connect(server.settings, "cli") as bus,
            service.connect(server.settings, "images") as images,
        ):
            async with progress.shown(bus, quiet=True) as id:
                assert id == "" or len(id) == 32
            async with progress.shown(bus, quiet=False) as id:
                await bus.connection.nats.flush()
                await images.tell(id, Progress(layer="sha256:cc", stage="done"))
                await images.connection.nats.flush()
                await bus.connection.nats.flush()

    with_server(scenario)
    assert capsys.readouterr().err == "cc done\n"
