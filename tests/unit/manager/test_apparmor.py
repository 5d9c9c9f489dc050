"""The default AppArmor profile. No kernel of the tests has AppArmor: what loads it into one is stood in for."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cribus.errors import FailedPrecondition
from cribus.manager import apparmor

from tests.unit.manager.conftest import Run, failing


class Parser:
    """An apparmor_parser that loads into a file; `refuses` is what it says when it does not."""

    def __init__(self, folder: Path) -> None:
        self.loaded = folder / "profiles"
        self.loaded.write_text("other (complain)\n")
        self.calls = folder / "calls"
        self.program = folder / "apparmor_parser"
        self.works()

    def _is(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)

    def works(self) -> None:
        self._is(f"echo $* >>{self.calls}; cat >>{self.calls}; echo '{apparmor.NAME} (enforce)' >>{self.loaded}")

    def refuses(self, why: str) -> None:
        self._is(f"cat >/dev/null; echo '{why}' >&2; exit 1")

    def called(self) -> int:
        return self.calls.read_text().count("--replace") if self.calls.exists() else 0


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parser:
    monkeypatch.setattr(apparmor, "_PLACES", str(tmp_path))
    return Parser(tmp_path)


def test_loaded_once_and_again_when_it_is_gone(parser: Parser, run: Run) -> None:
    async def story() -> None:
        profiles = apparmor.Profiles(str(parser.loaded))
        for _ in range(3):
            assert await profiles.default() == apparmor.NAME
        assert parser.called() == 1
        parser.loaded.write_text("")
        assert await profiles.default_or_none() == apparmor.NAME
        assert parser.called() == 2
        await apparmor.Profiles(str(parser.loaded)).default()  # of another version, perhaps
        assert parser.called() == 3

    run(story())
    assert f"profile {apparmor.NAME} " in parser.calls.read_text()


def test_what_cannot_be_loaded(parser: Parser, run: Run) -> None:
    async def story() -> None:
        profiles = apparmor.Profiles(str(parser.loaded))
        parser.refuses("Access denied")
        error = await failing(profiles.default())
        assert isinstance(error, FailedPrecondition)
        assert "cannot be loaded: Access denied" in error.message
        assert await profiles.default_or_none() == ""
        parser.program.unlink()
        error = await failing(profiles.default())
        assert "is not installed" in str(error)
        parser.works()
        assert await profiles.default() == apparmor.NAME

    run(story())


def test_profiles_of_others(parser: Parser) -> None:
    profiles = apparmor.Profiles(str(parser.loaded))
    assert profiles.has("other")
    assert not profiles.has("oth")


def test_where_it_can_be_loaded(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "LOADED", str(parser.loaded))
    assert apparmor.available()
    parser.loaded.unlink()
    assert not apparmor.available()


def test_the_profile_is_one(tmp_path: Path) -> None:
    """By Debian's own apparmor_parser, which compiles it without a kernel."""
    real = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    assert real, "apt-get install apparmor"
    done = subprocess.run(
        [real, "--skip-kernel-load", "--skip-cache", "--debug"], input=apparmor._TEXT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"Name:\t\t{apparmor.NAME}" in done.stdout
