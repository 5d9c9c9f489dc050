import asyncio
from typing import Any

import pytest
from cribus.executor import programs
from cribus.executor.node import Node
from cribus.executor.programs import Ended, Program

from tests.unit.executor.forks import Forks


def ran(node: Node, *argv: str, seconds: float | None = 10, **more: Any) -> Ended:
    node.server = Forks()  # type: ignore[assignment]
    return asyncio.run(programs.run(node, Program(argv[0], list(argv), {"A": "b"}, **more), seconds))


def test_streams_and_environment(node: Node) -> None:
    script = "cat; echo $A; pwd; echo err >&2; exit 3"
    assert ran(node, "/bin/sh", "-c", script, stdin=b"in\n", cwd="/usr") == Ended(3, "in\nb\n/usr\nerr\n")


def test_more_output_than_anybody_wants(node: Node) -> None:
    ended = ran(node, "/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x")
    assert (ended.code, len(ended.output)) == (0, 65536)


def test_a_signal_is_a_code_as_in_a_shell(node: Node) -> None:
    assert ran(node, "/bin/sh", "-c", "kill -9 $$").code == 137


def test_what_cannot_be_executed(node: Node) -> None:
    ended = ran(node, "/nowhere")
    assert (ended.code, ended.output) == (127, "/nowhere: No such file or directory\n")


def test_a_deadline(node: Node) -> None:
    with pytest.raises(TimeoutError):
        ran(node, "/bin/sh", "-c", "sleep 100", seconds=0.1)
