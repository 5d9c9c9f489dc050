"""Witnesses of an exit, and news that is kept until it was taken."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cribus.api.events import Event
from cribus.cgroups import oom
from cribus.shim import exits
from cribus.shim.exits import Death, Exit, News

from tests.turning import Turning


def started(*argv: str) -> tuple["subprocess.Popen[bytes]", int]:
    process = subprocess.Popen(argv)
    return process, os.pidfd_open(process.pid)


def test_the_keepers_word_counts_first(turning: Turning, tmp_path: Path) -> None:
    process, pidfd = started("sleep", "1000")
    found: list[Exit] = []
    Death(turning.loop, str(tmp_path), pidfd, found.append)

    def reap() -> None:
        process.wait()
        (tmp_path / "new").write_text('{"code":143,"signal":15,"at":77}')
        os.rename(tmp_path / "new", tmp_path / "exit.json")

    process.terminate()
    turning.loop.later(0.05, reap)
    turning.until(lambda: found)
    assert found == [Exit(code=143, signal=15, at=77)]


def test_the_kernel_tells_when_the_keeper_has_gone(
    turning: Turning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cribus.linux.process.zombie_exit", lambda pidfd: None)
    process, pidfd = started("sh", "-c", "exit 9")
    found: list[Exit] = []
    death = Death(turning.loop, str(tmp_path), pidfd, found.append)
    death.keeper_lives = lambda: False

    def reap() -> None:
        process.wait()

    turning.loop.later(0.05, reap)
    turning.until(lambda: found)
    assert (found[0].code, found[0].known) == (9, True)


def test_without_a_witness_the_code_is_not_known(
    turning: Turning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exits, "_NO_WITNESS", 0.1)
    monkeypatch.setattr("cribus.linux.process.zombie_exit", lambda pidfd: None)  # as for a reader without the right
    process, pidfd = started("true")
    found: list[Exit] = []
    death = Death(turning.loop, str(tmp_path), pidfd, found.append)
    death.keeper_lives = lambda: False
    turning.until(lambda: found)  # a zombie that nobody reaps: even the kernel does not tell
    assert (found[0].code, found[0].known) == (255, False)
    process.wait()


def test_a_new_parent_that_does_not_reap_hides_nothing(turning: Turning, tmp_path: Path) -> None:
    process, pidfd = started("sh", "-c", "exit 9")
    found: list[Exit] = []
    death = Death(turning.loop, str(tmp_path), pidfd, found.append)
    death.keeper_lives = lambda: False
    turning.until(lambda: found)
    assert (found[0].code, found[0].known) == (9, True)
    process.wait()


def test_of_status() -> None:
    assert exits.of_status(signal.SIGKILL).code == 137
    assert exits.of_status(3 << 8).code == 3


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "containers" / "c").mkdir(parents=True)
    return tmp_path


def test_news_is_kept_until_acknowledged_and_told_once(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Event, Callable[[], None]]] = []
    monkeypatch.setattr(oom, "killed", lambda path: path == "/pods/x")
    (house / "containers" / "c" / "state.json").write_text(json.dumps({"cgroup": "/pods/x"}))
    news = News(str(house), "p", lambda event, done: told.append((event, done)))
    assert news.first()
    news.again()
    assert not news.first()
    assert not news.told("c", 7)
    news.tell("c", 7, Exit(code=137, at=5, signal=9))
    later = News(str(house), "p", lambda event, done: told.append((event, done)))
    later.again()
    assert [event for event, _ in told] == [told[0][0]] * 2
    assert (told[0][0].exit_code, told[0][0].oom, told[0][0].pod, told[0][0].at) == (137, True, "p", 5)
    assert later.told("c", 7)
    told[1][1]()
    assert os.listdir(house / "pods" / "p" / "exits") == []
    assert later.told("c", 7)


def test_news_of_a_removed_container_leaves_nothing(house: Path) -> None:
    told: list[Callable[[], None]] = []
    news = News(str(house), "p", lambda event, done: told.append(done))
    news.again()
    news.tell("c", 7, Exit(code=0, at=5))
    os.rmdir(house / "containers" / "c")
    told[0]()
    news.forget("c")
    assert not news.told("c", 7)


def test_news_that_arrive_after_they_were_forgotten_leave_nothing(house: Path) -> None:
    told: list[Callable[[], None]] = []
    news = News(str(house), "p", lambda event, done: told.append(done))
    news.again()
    news.tell("c", 7, Exit(code=0, at=5))
    news.forget("c")
    told[0]()
    assert os.listdir(house / "containers" / "c") == []


def test_what_is_no_exit_is_told_by_the_next_shim_too(house: Path) -> None:
    told: list[tuple[Event, Callable[[], None]]] = []
    news = News(str(house), "p", lambda event, done: told.append((event, done)))
    news.again()
    news.say(Event(kind="log_lost", id="c", pod="p", at=5))
    News(str(house), "p", lambda event, done: told.append((event, done))).again()
    assert [(event.kind, event.at) for event, _ in told] == [("log_lost", 5)] * 2
    told[1][1]()
    assert os.listdir(house / "pods" / "p" / "exits") == []
    assert not news.told("c", 7)


def test_news_in_a_directory_that_was_emptied(house: Path) -> None:
    """It is told all the same; what cannot be read tells nothing, and hinders nobody."""
    told: list[str] = []
    news = News(str(house), "p", lambda event, done: told.append(event.id))
    news.tell("c", 7, Exit(code=5, at=7))
    assert told == ["c"]
    folder = house / "pods" / "p" / "exits"
    (folder / "spoilt.json").write_text('{"kind":')
    again: list[str] = []
    News(str(house), "p", lambda event, done: again.append(event.id)).again()
    assert again == ["c"]
    assert sorted(one.name for one in folder.iterdir()) == ["c.json"]


def test_each_try_to_start_a_container_has_its_own_end(house: Path) -> None:
    """The first one's end may be noticed only when the second one is there, in the same directory or another."""
    told: list[tuple[Event, Callable[[], None]]] = []
    news = News(str(house), "p", lambda event, done: told.append((event, done)))
    folder = house / "containers" / "c"
    (folder / "state.json").write_text('{"pid": 8}')
    assert not exits.began(str(folder), 7)
    (folder / "going").write_text("8")
    assert exits.began(str(folder), 8)
    assert not exits.began(str(folder), 7)
    news.again()
    news.tell("c", 7, Exit(code=137, at=5))
    assert not news.told("c", 8)
    news.tell("c", 8, Exit(code=3, at=6))
    told[0][1]()
    assert news.told("c", 8)
    assert not news.told("c", 7)
    told[1][1]()
    assert (folder / exits.TOLD).read_text() == "8"
    assert os.listdir(house / "pods" / "p" / "exits") == []
    assert [(event.pid, event.exit_code) for event, _ in told] == [(7, 137), (8, 3)]


def test_what_an_earlier_version_wrote_is_about_any_try(house: Path) -> None:
    folder = house / "containers" / "c"
    (folder / "going").touch()
    assert exits.began(str(folder), 7)
    (folder / exits.TOLD).touch()
    assert News(str(house), "p", lambda event, done: None).told("c", 7)
