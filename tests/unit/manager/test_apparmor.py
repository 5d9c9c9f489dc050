"""The default AppArmor profile. No kernel of the tests has AppArmor: what loads it into one is stood in for."""

import asyncio
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
        self.pid = folder / "pid"
        self.program = folder / "apparmor_parser"
        self.works()

    def _is(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)

    def works(self) -> None:
        self._is(f"echo $* >>{self.calls}; cat >>{self.calls}; echo '{apparmor.NAME} (enforce)' >>{self.loaded}")

    def refuses(self, why: str) -> None:
        self._is(f"cat >/dev/null; echo '{why}' >&2; exit 1")

    def hangs(self) -> None:
        self._is(f"echo --replace >>{self.calls}; echo $$ >{self.pid}; exec sleep 1000")

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
        parser.program.unlink()
        error = await failing(profiles.default())
        assert isinstance(error, FailedPrecondition)
        assert "apparmor_parser is not installed; it is in Debian's package apparmor" in error.message
        assert await profiles.default_or_none() == ""
        assert profiles.has("other")  # which needs no program
        parser.refuses("Access denied")
        error = await failing(profiles.default())
        assert isinstance(error, FailedPrecondition)
        assert "cannot be loaded: Access denied" in error.message
        assert await profiles.default_or_none() == ""

    run(story())


def test_a_failure_holds_for_a_while(parser: Parser, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        profiles = apparmor.Profiles(str(parser.loaded))
        parser.refuses("Access denied")
        await failing(profiles.default())
        parser.works()
        assert "Access denied" in str(await failing(profiles.default()))
        assert await profiles.default_or_none() == ""
        assert parser.called() == 0
        monkeypatch.setattr(profiles, "_until", asyncio.get_running_loop().time())
        assert await profiles.default() == apparmor.NAME

    run(story())


def test_one_that_hangs_is_killed_and_waited_for_once(
    parser: Parser, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apparmor, "_DEADLINE", 0.5)
    parser.hangs()

    async def story() -> None:
        profiles = apparmor.Profiles(str(parser.loaded))
        errors = await asyncio.gather(*(failing(profiles.default()) for _ in range(5)))
        for error in errors:
            assert isinstance(error, FailedPrecondition)
            assert "gives no answer within 0.5 s" in error.message
        assert await profiles.default_or_none() == ""

    run(story())
    assert parser.called() == 1
    assert not Path(f"/proc/{parser.pid.read_text().strip()}").exists()


def test_a_program_that_is_none(parser: Parser, run: Run) -> None:
    parser.program.write_bytes(b"\0")
    error = run(failing(apparmor.Profiles(str(parser.loaded)).default()))
    assert isinstance(error, FailedPrecondition)
    assert "Exec format error" in error.message


def test_profiles_of_others(parser: Parser) -> None:
    profiles = apparmor.Profiles(str(parser.loaded))
    assert profiles.has("other")
    assert not profiles.has("oth")


def test_where_the_kernel_shows_no_profiles(parser: Parser, run: Run) -> None:
    parser.loaded.unlink()
    profiles = apparmor.Profiles(str(parser.loaded))
    with pytest.raises(FailedPrecondition, match="mount securityfs"):
        profiles.has("other")
    assert "mount securityfs" in str(run(failing(profiles.default())))
    assert run(profiles.default_or_none()) == ""
    assert parser.called() == 0


def test_the_profile_is_one(tmp_path: Path) -> None:
    """By Debian's own apparmor_parser, which compiles it without a kernel."""
    real = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    assert real, "apt-get install apparmor"
    done = subprocess.run(
        [real, "--skip-kernel-load", "--skip-cache", "--debug"], input=apparmor._TEXT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"Name:\t\t{apparmor.NAME}" in done.stdout
