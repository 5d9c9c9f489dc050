"""What an upgrade does around the replacing, which tests/node/test_upgrade.py shows on a node."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cribus.cli import upgrade

from tests.unit.cli.conftest import Node


def test_a_node_that_is_down(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        assert node.cribus("upgrade") == 1
        assert "`cribus up` starts it" in capsys.readouterr().err


def test_what_is_no_environment(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.cribus("upgrade", "--to", str(tmp_path)) == 1
    assert f"{tmp_path} is no virtual environment" in capsys.readouterr().err


def test_the_link_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, path = (tmp_path / name for name in ("old", "new", "path"))
    for folder in (old, new, path):
        folder.mkdir()
        (folder / "python").touch()
    for folder in (old, new):
        (folder / "cribus").touch(mode=0o755)
    link = path / "cribus"
    link.symlink_to(old / "cribus")
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(sys, "executable", str(new / "python"))
    assert upgrade.switch(str(tmp_path / "other" / "python")) == "", "a link to something else is not ours"
    assert upgrade.switch(str(old / "python")) == str(link)
    assert os.readlink(link) == str(new / "cribus")
    assert upgrade.switch(str(new / "python")) == ""


def test_only_the_shim_of_that_pod_is_told_to_go() -> None:
    other = subprocess.Popen(["sleep", "1000"])
    try:
        assert upgrade._gone("a" * 64, other.pid)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert upgrade._gone("a" * 64, other.pid)
