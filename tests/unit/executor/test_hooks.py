"""On the host; those in the container are in child/test_hooks.py, and all together in tests/node/test_executor.py."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.executor import hooks
from cribus.executor.node import Node

from tests.unit.executor.forks import Forks

STATE = {"id": "c", "status": "creating", "pid": 7}


def hook(script: str, timeout: int = 0) -> list[Any]:
    return ["createRuntime", "/bin/sh", ["sh", "-c", script], {"A": "b"}, timeout]


@pytest.fixture(autouse=True)
def _forks(node: Node) -> None:
    node.server = Forks()  # type: ignore[assignment]


def test_the_state_comes_on_standard_input(node: Node, tmp_path: Path) -> None:
    asyncio.run(hooks.run(node, [hook(f"cat > {tmp_path}/seen; echo $A > {tmp_path}/env")], STATE))
    assert json.loads((tmp_path / "seen").read_text()) == STATE
    assert (tmp_path / "env").read_text() == "b\n"


def test_the_first_that_fails_is_the_last(node: Node, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"^createRuntime hook /bin/sh ended with 3: why$"):
        asyncio.run(hooks.run(node, [hook("echo why; exit 3"), hook(f"touch {tmp_path}/second")], STATE))
    assert not (tmp_path / "second").exists()


def test_a_hook_that_hangs(node: Node) -> None:
    with pytest.raises(FailedPrecondition, match="was killed after its 1 s"):
        asyncio.run(hooks.run(node, [hook("sleep 100", 1)], STATE))


def test_afterwards_each_has_its_turn(node: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(hooks.run_all(node, [hook("exit 1"), hook(f"touch {tmp_path}/second")], STATE))
    assert (tmp_path / "second").exists()
    assert [one.message for one in caplog.records] == ["hook failed"]
