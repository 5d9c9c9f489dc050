"""What an operator gives to the servers of a cluster."""

import json
import os
from pathlib import Path

import pytest
from cribus.bus import credentials
from cribus.cli.__main__ import run
from cribus.config import Bus, Settings
from cribus.errors import FailedPrecondition


def test_the_users_of_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(f'node = "n"\nroot = "{tmp_path}"\n[bus]\nurl = "nats://there:4222"\n')
    monkeypatch.setenv("CRIBUS_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = Settings(node="n", root=str(tmp_path), bus=Bus(url="nats://there:4222"))
    with pytest.raises(FailedPrecondition, match="`cribus credentials` makes it"):
        credentials.login(settings, "shim")
    assert run(["credentials"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {one["user"] for one in said} == {f"n-{name}" for name in credentials.CALLS}
    assert credentials.login(settings, "shim").password in {one["password"] for one in said}
    assert run(["credentials"]) == 0
    assert json.loads(capsys.readouterr().out) == said, "they are kept"
    assert not (tmp_path / "bus" / "nats.conf").exists()


def test_root_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(["credentials"]) == 1
    assert "for root only" in capsys.readouterr().err
