"""Only the current generation writes."""

import os
from pathlib import Path

import pytest
from cribus import pulse
from cribus.pulse import Own, Page
from cribus.staging import Staging


class Fenced(BaseException):
    """In place of the end of the process."""


class Process(Own):
    """One that only raises when it finds that it has a successor."""

    def check(self) -> None:
        if not self.current():
            raise Fenced


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "supervisor").mkdir()
    one = Page(str(tmp_path))
    one.ensure()
    return one


@pytest.fixture
def begin(page: Page, monkeypatch: pytest.MonkeyPatch) -> "Begin":
    return Begin(page, monkeypatch)


class Begin:
    """Starts processes of one program, and changes from one to the other."""

    def __init__(self, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
        self._page = page
        self._monkeypatch = monkeypatch

    def __call__(self, folder: Path) -> tuple[Own, Staging]:
        own = Process(self._page, "manager", self._page.begin("manager"))
        self.be(own)
        return own, Staging(str(folder))

    def be(self, own: Own) -> None:
        self._monkeypatch.setattr(pulse, "own", own)


def test_written_and_removed(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "files"))
    staging.claim()
    path = tmp_path / "files" / "a"
    staging.write(str(path), b"1")
    staging.write(str(path), b"2")
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o600
    staging.remove(str(path))
    staging.remove(str(path))
    assert os.listdir(staging.folder) == []


def test_a_place_that_was_emptied_is_made_again(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "files"))
    staging.write(str(tmp_path / "files" / "a"), b"1")
    assert (tmp_path / "files" / "a").read_bytes() == b"1"


def test_whose_folder_is_gone_keeps_out(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "files"))
    staging.claim()
    with pytest.raises(FileNotFoundError):
        staging.write(str(tmp_path / "files" / "removed" / "a"), b"1")
    assert not (tmp_path / "files" / "removed").exists()


def test_a_successor_fences_those_before(tmp_path: Path, begin: Begin) -> None:
    old, before = begin(tmp_path)
    before.claim()
    path = tmp_path / "a"
    before.write(str(path), b"old")
    _, after = begin(tmp_path)
    after.claim()
    after.write(str(path), b"new")
    begin.be(old)
    with pytest.raises(Fenced):
        before.write(str(path), b"late")
    with pytest.raises(Fenced):
        before.remove(str(path))
    assert path.read_bytes() == b"new"


def test_a_rename_that_was_about_to_happen_fails_too(tmp_path: Path, begin: Begin) -> None:
    """The process was stopped after it had looked whether it is current."""
    _, before = begin(tmp_path)
    before.claim()
    path = tmp_path / "a"
    half = Path(before.folder) / "half"
    half.write_bytes(b"late")
    _, after = begin(tmp_path)
    after.claim()
    after.write(str(path), b"new")
    with pytest.raises(FileNotFoundError):
        os.rename(half, path)
    assert path.read_bytes() == b"new"


def test_programs_do_not_fence_each_other(tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    stagings = []
    for program in ("manager", "executor"):
        monkeypatch.setattr(pulse, "own", Own(page, program, page.begin(program)))
        stagings.append(Staging(str(tmp_path)))
        stagings[-1].claim()
    for staging in stagings:
        staging.write(str(tmp_path / "a"), b"x")
