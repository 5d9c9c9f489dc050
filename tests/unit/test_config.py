from pathlib import Path

import pytest
from cribus import config
from cribus.errors import InvalidArgument


def _load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> config.Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    monkeypatch.setenv("CRIBUS_CONFIG", str(path))
    return config.load()


def test_defaults_follow_from_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(tmp_path, monkeypatch, 'run = "/run/x"\n[network]\nbin_dirs = ["/a"]\n')
    assert settings.gateway.socket == "/run/x/cribus.sock"
    assert settings.network.bin_dirs == ("/a",)
    assert settings.node


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nod = 1", "nod"),
        ("node = 1", "node"),
        ("node = 'a.b'", "letters"),
        ("node = ", "not TOML"),
        ("[bus]\nlisen = 'x'", "lisen"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        _load(tmp_path, monkeypatch, text)


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRIBUS_CONFIG", "/nonexistent/config.toml")
    with pytest.raises(InvalidArgument, match="does not exist"):
        config.load()
