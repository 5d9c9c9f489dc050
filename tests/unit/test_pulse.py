"""Generations and signs of life, over processes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cribus import pulse
from cribus.pulse import FENCED, GENERATION, Own, Page

from tests.harness import until

SERVICE = """
import asyncio, sys
from cribus import pulse

async def main():
    pulse.keep(sys.argv[1], "one", asyncio.get_running_loop().call_later)
    print("kept", flush=True)
    await asyncio.Event().wait()

pulse.alone(sys.argv[1], "one")
asyncio.run(main())
"""


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "supervisor").mkdir()
    one = Page(str(tmp_path))
    one.ensure()
    return one


def _started(folder: Path, generation: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, **({GENERATION: generation} if generation else {})}
    argv = [sys.executable, "-c", SERVICE, str(folder)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _kept(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout
    assert process.stdout.readline() == b"kept\n"


def _ended(process: subprocess.Popen[bytes]) -> bytes:
    return process.communicate(timeout=10)[1]


def test_without_a_page_nobody_counts(tmp_path: Path) -> None:
    one = Page(str(tmp_path))
    assert (one.generation("one"), one.beat("one"), one.hangs("one"), one.names()) == (0, 0, (0, 0, ""), [])
    assert Own(one, "one", 0).current()
    assert Own(one, "one", 7).current()


def test_every_start_is_a_generation(page: Page, tmp_path: Path) -> None:
    first, other, second = page.begin("one"), page.begin("two"), page.begin("one")
    assert 0 < first < second
    seen = Page(str(tmp_path))
    assert (seen.generation("one"), seen.generation("two"), seen.generation("three")) == (second, other, 0)
    assert seen.names() == ["one", "two"]


def test_no_generation_comes_twice_where_the_page_was_deleted(page: Page, tmp_path: Path) -> None:
    before = page.begin("one")
    os.unlink(page.path)
    signal.sigtimedwait([], 0.002)
    fresh = Page(str(tmp_path))
    fresh.ensure()
    assert fresh.generation("one") == 0
    assert fresh.begin("one") > before


def test_a_sign_of_life(page: Page, tmp_path: Path) -> None:
    page.begin("one")
    assert page.beat("one") == 0
    assert not page.alive("one")
    page.strike("one")
    other = Page(str(tmp_path))
    assert other.beat("one") > 0
    assert other.pid("one") == os.getpid()
    assert other.alive("one")
    page.begin("one")
    assert other.beat("one") == 0, "its successor has given none"


def test_a_hang_is_remembered_over_generations(page: Page) -> None:
    page.begin("one")
    page.hung("one", "why " * 100)
    page.begin("one")
    count, at, why = page.hangs("one")
    assert count == 1
    assert at > 10**18
    assert why.startswith("why why")


def test_a_page_that_was_deleted_is_made_again_with_what_it_said(page: Page, tmp_path: Path) -> None:
    first = page.begin("one")
    other = Page(str(tmp_path))
    os.unlink(page.path)
    page.ensure()
    second = page.begin("one")
    assert other.generation("one") == first
    other.refresh()
    assert other.generation("one") == second


def test_many_programs_have_room(page: Page) -> None:
    assert all(page.begin(f"program-{k}") for k in range(16))
    assert page.begin("one too many") == 0


def test_a_service_gives_signs_of_life_until_it_is_stopped(page: Page, tmp_path: Path) -> None:
    process = _started(tmp_path, str(page.begin("one")))
    _kept(process)
    first = page.beat("one")
    until(lambda: page.beat("one") > first, 5, "the next one")
    process.kill()
    _ended(process)


def test_one_that_was_replaced_ends_when_it_goes_on(page: Page, tmp_path: Path) -> None:
    process = _started(tmp_path, str(page.begin("one")))
    _kept(process)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    page.begin("one")
    process.send_signal(signal.SIGCONT)
    assert b"has a successor" in _ended(process)
    assert process.returncode == FENCED
    assert page.beat("one") == 0, "it said nothing in its successor's name"


def test_one_that_was_only_stopped_goes_on(page: Page, tmp_path: Path) -> None:
    process = _started(tmp_path, str(page.begin("one")))
    _kept(process)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    process.send_signal(signal.SIGCONT)
    before = page.beat("one")
    until(lambda: page.beat("one") > before, 5, "it goes on")
    process.kill()
    _ended(process)


def test_one_that_comes_too_late_ends_at_once(page: Page, tmp_path: Path) -> None:
    late = str(page.begin("one"))
    page.begin("one")
    process = _started(tmp_path, late)
    assert b"has a successor" in _ended(process)


def test_one_by_hand_beside_supervisords_does_not_start(page: Page, tmp_path: Path) -> None:
    page.begin("one")
    page.begin("supervisord")
    page.strike("supervisord")
    process = _started(tmp_path)
    assert b"run by the node's supervisord" in _ended(process)


def test_messages_of_another_generation_are_stale(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not pulse.stale("one", 3), "without a page nobody knows"
    now = page.begin("one")
    monkeypatch.setattr(pulse, "own", Own(page, "me", 0))
    stale = [pulse.stale("one", generation) for generation in (0, now - 1, now, now + 1)]
    assert stale == [False, True, False, True]
    assert not pulse.stale("a person", 1)


def test_looks_are_made_with_every_sign_of_life(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "own", None)
    monkeypatch.setattr(pulse, "EVERY", 0.01)
    before = signal.getsignal(signal.SIGCONT)

    async def kept() -> None:
        looked = asyncio.Event()
        later = asyncio.get_running_loop().call_later
        pulse.keep(str(tmp_path), "one", later).looks.append(looked.set)
        await asyncio.wait_for(looked.wait(), 5)

    try:
        asyncio.run(kept())
    finally:
        signal.signal(signal.SIGCONT, before)
        monkeypatch.setattr("cribus.steps.begun", lambda: None)
