import argparse
import json

import pytest
from cribus.api import events
from cribus.api.events import Event
from cribus.cli.events import since

from tests.unit.cli.conftest import Node


def _publish(node: Node, *kinds: str) -> None:
    async def tell() -> None:
        bus = node.bus["images"]
        for number, kind in enumerate(kinds):
            await bus.publish(Event(kind=kind, id=f"x{number}", at=number))
        await bus.events.flushed(5)

    node.do(tell())


def test_what_is_kept(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        assert node.cribus("events") == 0
        assert capsys.readouterr().out == ""
        _publish(node, events.EXITED, events.IMAGE_PULLED, events.EXITED)
        assert node.cribus("events") == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["sequence"], one["kind"], one["id"]) for one in lines] == [
            (1, "exited", "x0"),
            (2, "image_pulled", "x1"),
            (3, "exited", "x2"),
        ]
        assert node.cribus("events", "--since", "1", "--kind", "exited") == 0
        [line] = capsys.readouterr().out.splitlines()
        assert json.loads(line)["sequence"] == 3
        assert node.cribus("events", "--since", "3") == 0
        assert capsys.readouterr().out == ""


def test_since_a_time(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        _publish(node, events.EXITED, events.IMAGE_PULLED)
        assert node.cribus("events", "--since", "1970-01-01T00:00:00.000000+00:00") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert node.cribus("events", "--since", "1h") == 0
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["5x", "yesterday", "m", ""])
def test_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="90s, 5m"):
        since(text)
