"""`down` from every state. That it ends supervisord is in supervisor/test_daemon.py."""

import pytest
from cribus.cli import down
from cribus.errors import FailedPrecondition

from tests.unit.cli.conftest import Node


def test_a_node_that_never_ran(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        assert node.cribus("down", "--pods") == 0
        assert "was not running" in capsys.readouterr().out
        assert not (node.base / "run").exists()


def test_pods_that_are_left_are_told(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        (node.base / "run" / "pods" / "x").mkdir(parents=True)
        assert node.cribus("down", "--pods") == 1
        assert "1 pod of this node still there" in capsys.readouterr().err
        assert node.cribus("down") == 0


def test_the_refusal_is_an_error_of_ours(node: Node) -> None:
    with node.serving({}):
        (node.base / "run" / "pods" / "x").mkdir(parents=True)
        settings = node.settings.__class__(run=str(node.base / "run"))
        with pytest.raises(FailedPrecondition):
            down._pods(settings, up=False)
