"""exec from a pipe and from a terminal, through the real command."""

import os
import pty
import select
import subprocess
import sys
from typing import Any

import pytest
from cribus.api import manager, shim
from cribus.cli.exec import FAILED
from cribus.errors import NotFound

from tests.harness import until
from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node
from tests.unit.cli.shim import Echo

COMMAND = [sys.executable, "-m", "cribus.cli", "exec"]


def _answers(echo: Echo) -> Answers:
    located = manager.Located(pod=samples.POD, container=samples.CONTAINER, running=True)
    return {manager.LOCATE: lambda _: located, shim.EXEC: echo.opened}


def _run(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *args], input=stdin, capture_output=True, timeout=30)


def test_without_input(node: Node) -> None:
    echo = Echo(lambda: node.bus["shim"], 5)
    with node.serving(_answers(echo)):
        done = _run("ccc", "ls", "-l", "--json")
        assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"to stderr\n")
    [asked] = echo.asked
    assert (asked.container, asked.cmd) == (samples.CONTAINER, ["ls", "-l", "--json"])
    assert (asked.tty, asked.stdin, asked.stdout, asked.stderr) == (False, False, True, True)


def test_a_megabyte_through_standard_input(node: Node) -> None:
    data = b"abcdefgh" * (1 << 17)
    with node.serving(_answers(Echo(lambda: node.bus["shim"], 0))):
        done = _run("-i", "ccc", "cat", stdin=data)
    assert done.returncode == 0
    assert done.stdout == data.upper()


def test_a_terminal(node: Node) -> None:
    echo = Echo(lambda: node.bus["shim"], 3)
    with node.serving(_answers(echo)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*COMMAND, "-it", "ccc", "sh"], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        until(lambda: echo.sizes, 10, "the terminal is raw and its size is told")
        os.write(ours, b"hello\x03\x04")
        code = process.wait(20)
        out = b""
        while select.select([ours], [], [], 0)[0]:
            try:
                out += os.read(ours, 4096)
            except OSError:
                break
        os.close(ours)
    assert code == 3
    assert b"HELLO\x03" in out
    assert echo.asked[0].tty
    assert echo.sizes


def test_which_command(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.cribus("exec", "ccc") == 2
    assert "which command" in capsys.readouterr().err


def test_what_fails_is_not_taken_for_the_command(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Any) -> Any:
        raise NotFound("no such program")

    answers: dict[Any, Any] = {**_answers(Echo(lambda: node.bus["shim"], 0)), shim.EXEC: refuse}
    with node.serving(answers):
        assert node.cribus("exec", "ccc", "nope") == FAILED
    assert capsys.readouterr().err == "cribus: no such program\n"
