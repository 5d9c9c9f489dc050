"""criu as a script that says what the real one does."""

import asyncio
from pathlib import Path

import pytest
from cribus.api.executor import Criu
from cribus.errors import FailedPrecondition
from cribus.executor.criu import program
from cribus.executor.node import Node

from tests.unit.executor.forks import Forks

LOG = """(00.01) Warn  (criu/kerndat.c:12): no cache
(00.02) Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds
Error (criu/crtools.c:260): Could not initialize kernel features detection.
"""


@pytest.fixture
def criu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only criu there is; it counts how often it was asked."""
    path = tmp_path / "bin" / "criu"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(program, "_ADMIN", str(path.parent))
    return path


def write(path: Path, check: str) -> None:
    path.write_text(f'#!/bin/sh\n[ "$1" = check ] || exec echo Version: 9.1\necho >>{path}.asked\n{check}\n')
    path.chmod(0o755)


def known(node: Node) -> Criu:
    node.server = Forks()  # type: ignore[assignment]
    return asyncio.run(program.known(node))


def test_it_works_and_is_asked_once(node: Node, criu: Path) -> None:
    write(criu, "true")
    assert known(node) == Criu(version="9.1")
    assert known(node) == Criu(version="9.1")
    assert (criu.parent / "criu.asked").read_text() == "\n"
    assert asyncio.run(program.need(node)) == str(criu)


def test_it_does_not_and_says_why(node: Node, criu: Path) -> None:
    write(criu, f"cat <<'T' >&2\n{LOG}T\nexit 1")
    missing = known(node).missing
    assert missing.startswith("criu 9.1 does not work with this host's kernel ")
    assert missing.endswith(": vdso: Unexpected rt vDSO area bounds")
    with pytest.raises(FailedPrecondition, match=r"this host cannot checkpoint or restore: criu 9\.1 does not"):
        asyncio.run(program.need(node))


def test_another_file_is_asked_anew(node: Node, criu: Path) -> None:
    write(criu, "exit 1")
    assert "it ended with 1" in known(node).missing
    criu.unlink()
    write(criu, "true")
    assert known(node).missing == ""


def test_none(node: Node, criu: Path) -> None:
    assert known(node) == Criu(missing="criu is not installed; apt-get install criu")


def test_errors_of_a_log() -> None:
    assert program.errors(LOG)[1] == "Could not initialize kernel features detection."
    assert program.errors("all is well") == []
