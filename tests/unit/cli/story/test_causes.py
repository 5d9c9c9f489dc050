"""Which cause is named for what is known."""

from typing import Any

import pytest
from cribus.api import events
from cribus.cli.story.causes import CAUSE, NOTE, Cause, causes
from cribus.cli.story.facts import Hang, Story

from tests.unit.cli.story.tales import (
    APP,
    BEGIN,
    POD,
    SECOND,
    WHO,
    doing,
    ended,
    event,
    kill,
    span,
    stop,
    story,
)  # fmt: skip


def _first(found: Story) -> Cause:
    return causes(found)[0]


def test_nothing_is_wrong() -> None:
    assert causes(story()) == []


@pytest.mark.parametrize(
    ("how", "level", "words"),
    [
        ({"exit_code": 137, "signal": 9, "oom": True}, CAUSE, "out of memory (OOM)"),
        ({"exit_code": 137, "signal": 9}, CAUSE, "killed by SIGKILL from outside: neither cribus nor the OOM killer"),
        ({"exit_code": 139, "signal": 11}, CAUSE, "killed by SIGSEGV, which cribus did not send"),
        ({"exit_code": 3}, CAUSE, "ended by itself with exit code 3"),
        ({}, NOTE, "ended by itself with exit code 0"),
        ({"exit_code": 255, "exit_known": False}, CAUSE, "no witness saw how"),
    ],
)
def test_how_a_container_ended(how: dict[str, Any], level: str, words: str) -> None:
    found = _first(story(events=[ended(**how)]))
    assert found.level == level
    assert words in found.text


def test_a_kill_that_may_be_older_than_the_history_is_not_sworn_to() -> None:
    started = event(events.CONTAINER_STARTED, -5)
    assert "as far as the history" in _first(story(events=[started, ended(signal=9, exit_code=137)])).text


def test_who_ended_it() -> None:
    whole = story(spans=[stop(20), kill(15, 20.1)], events=[ended(21, exit_code=143, signal=15)])
    assert causes(whole) == [
        Cause(NOTE, "container app was ended by SIGTERM of StopContainer, asked by crictl (pid 7)")
    ]


def test_a_stop_signal_that_it_took_as_a_wish() -> None:
    whole = story(spans=[stop(20), kill(15, 20.1)], events=[ended(21, exit_code=0)])
    assert [one.text for one in causes(whole)] == [
        "container app ended with exit code 0 after SIGTERM of StopContainer, asked by crictl (pid 7)"
    ]


def test_force_after_the_grace_period() -> None:
    whole = story(spans=[stop(20), kill(15, 20), kill(9, 22)], events=[ended(22.1, exit_code=137, signal=9)])
    found = _first(whole)
    assert found.level == CAUSE
    assert "did not end of SIGTERM within its grace period of 2.0 s, so cribus sent SIGKILL" in found.text


def test_what_failed_and_in_which_step() -> None:
    whole = story(
        spans=[
            span("StartContainer", 1, id=APP, trace="t1", told=WHO, took=9_000_000, failure="NOT_FOUND: no program"),
            span("manager.start_container", 1, id=APP, trace="t1", failure="NOT_FOUND: no program", took=8_000_000),
            span("manager.start.process", 1, id=APP, trace="t1", failure="NotFound: no program", took=7_000_000),
            span("executor.create.ready", 1, id=APP, trace="t1", failure="NotFound: no program", took=6_000_000),
            span("manager.start.take", 1, id=APP, trace="t1", failure="CancelledError: ", took=1_000_000),
        ]
    )
    text = _first(whole).text
    assert text == (
        "StartContainer app failed: no program (NOT_FOUND); in step executor.create.ready after 6.0 ms, "
        "asked by crictl (pid 7)"
    )


def test_what_succeeded_later_is_no_cause() -> None:
    failed = span("StartContainer", 1, id=APP, trace="t1", told=WHO, failure="UNAVAILABLE: x")
    assert causes(story(spans=[failed, span("StartContainer", 2, id=APP, trace="t2", told=WHO)])) == []


def test_what_hangs_and_who_waits() -> None:
    hang = Hang(
        pid=99, thread=99, program="/opt/cni/slow", state="S", call="read", on="/x", kernel="pipe_read",
        since=BEGIN + 30 * SECOND, owner=POD, service="manager",
    )  # fmt: skip
    waits = doing("RunPodSandbox", 28, told={**WHO, "name": "web"})
    found = _first(story(state="being made", hangs=[hang], doing=[waits, doing("manager.run.network", 30, 5, id=POD)]))
    assert found.text == (
        "/opt/cni/slow (pid 99) hangs for 30 s in the system call read on /x (kernel: pipe_read); "
        "RunPodSandbox, asked by crictl (pid 7), has waited for it for 32 s"
    )


def test_what_hangs_for_another_pod_is_not_ours() -> None:
    other = Hang(pid=1, thread=1, program="x", state="D", owner="b" * 64)
    assert causes(story(hangs=[other])) == []
    assert causes(story(hangs=[Hang(pid=1, thread=1, program="x", state="D")])) == []


def test_what_is_slow_without_a_thread_that_hangs() -> None:
    found = _first(story(doing=[doing("manager.run.network", 30, 5, id=POD)]))
    assert found.text == "it is still in manager.run.network"
    assert causes(story(doing=[doing("manager.run.network", 59.9, 5, id=POD)])) == []


def test_a_service_that_does_not_answer() -> None:
    stopped = Hang(pid=5, thread=5, program="python -m cribus.images", state="T")
    found = causes(story(silent={"images": 5, "gateway": 0}, hangs=[stopped]))
    assert [one.text for one in found] == [
        "images does not answer (pid 5, stopped by a signal)",
        "gateway does not answer (it does not run)",
    ]
    assert found[0].next == "kill -CONT 5"


def test_restarts_alone_and_together() -> None:
    lone = [event(events.SERVICE_STARTED, at, id="images") for at in (5, 6)]
    together = [event(events.SERVICE_STARTED, 40, id=one) for one in ("executor", "shimd", "manager", "gateway")]
    texts = [one.text for one in causes(story(events=[*lone, *together]))]
    assert texts[0].startswith("images was started again 2 times from ")
    assert texts[1].startswith("the whole node was started again at ")
    assert len(texts) == 2


def test_a_log_that_takes_no_more_and_what_was_lost() -> None:
    begun = event(events.LOG_LOST, 5, id=APP, detail={"lost_bytes": "9", "cause": "No space left on device"})
    [found] = causes(story(events=[begun]))
    assert found.level == CAUSE
    assert found.text == "the log of container app takes no more (No space left on device): output is being lost"
    over = event(events.LOG_LOST, 6, id=APP, detail={"lost_bytes": "4096", "cause": ""})
    assert [one.text for one in causes(story(events=[begun, over]))] == [
        "4096 bytes of output of container app are not in its log"
    ]


def test_a_shim_that_was_replaced() -> None:
    detail = {"pid": "5", "how": "SIGKILL from outside", "successor": "6"}
    [found] = causes(story(events=[event(events.SHIM_REPLACED, 5, id=POD, detail=detail)]))
    assert found.text == "its shim (pid 5) ended: SIGKILL from outside; shim pid 6 took over, the containers went on"


def test_a_service_that_hung() -> None:
    [found] = causes(story(events=[event(events.SERVICE_REPLACED, 5, id="nats", detail={"why": "stopped"})]))
    assert found.text.startswith("nats hung and was replaced at ")
    assert (found.level, found.text[-9:]) == ("note", ": stopped")


def test_who_waits_is_told_from_the_first_moment() -> None:
    hang = Hang(pid=99, thread=99, program="/opt/cni/slow", state="S", owner=POD)
    waits = doing("RunPodSandbox", 59.9, told={**WHO, "name": "web"})
    assert "RunPodSandbox, asked by crictl (pid 7)" in _first(story(hangs=[hang], doing=[waits])).text


def test_what_hangs_for_another_pod_does_not_hide_that_ours_is_slow() -> None:
    other = Hang(pid=1, thread=1, program="x", state="D", owner="b" * 64)
    found = causes(story(hangs=[other], doing=[doing("manager.run.network", 30, 5, id=POD)]))
    assert [one.text for one in found] == ["it is still in manager.run.network"]
