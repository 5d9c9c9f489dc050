import json

import pytest
from cribus.cli import doctor
from cribus.cli.health.judgments import BAD, OK, WARN, Judgment

from tests.unit.cli.conftest import Node


def test_lines() -> None:
    assert doctor.line(Judgment(OK, "overlayfs")) == "ok    overlayfs"
    assert doctor.line(Judgment(BAD, "no bus", "it is down", "cribus up")) == "bad   no bus: it is down  → cribus up"


def test_summary() -> None:
    assert doctor.summary([Judgment(OK, "a")]) == "\nready for pods"
    assert "1 things could be better" in doctor.summary([Judgment(WARN, "a")])
    assert "1 of 2" in doctor.summary([Judgment(WARN, "a"), Judgment(BAD, "b")])


def test_a_bus_without_supervisord(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        assert node.cribus("doctor", "--json") == 1
    found = {one["fact"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["the services do not run"]["next"] == "cribus up"
    assert any("answers in" in fact for fact in found)
