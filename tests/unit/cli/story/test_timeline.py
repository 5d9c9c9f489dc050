"""Requests with each step's time in each process, among the news."""

from cribus.api import events
from cribus.api.events import Event
from cribus.cli.story.timeline import timeline

from tests.unit.cli.story.tales import APP, BEGIN, POD, WHO, doing, event, span, stop, story


def test_requests_have_their_parts_by_process() -> None:
    spans = [
        span("RunPodSandbox", 0, id=POD, trace="t", told={**WHO, "name": "web", "deadline": "3 s"}, took=50_000_000),
        span("manager.run_sandbox", 0.001, id=POD, trace="t", told={"caller": "gateway"}, took=40_000_000),
        span("manager.run.network", 0.002, id=POD, trace="t", took=30_000_000),
        span("shim.begin.claimed", 0.003, id=POD, took=1_000_000),
        span("executor.create_pod", 0.004, id=POD, trace="t", told={"caller": "manager"}, took=2_000_000),
        span("shim.take.log", 5, id=APP, took=1_000_000),
    ]
    [entry] = timeline(story(spans=spans))
    assert (entry.what, entry.took) == ("RunPodSandbox web", 50_000_000)
    assert entry.detail == "asked by crictl (pid 7), within 3 s"
    assert entry.parts == (
        ("manager", 40_000_000, [("network", 30_000_000)]),
        ("shim", 1_000_000, [("claimed", 1_000_000)]),
        ("executor", 2_000_000, [("create_pod", 2_000_000)]),
    )


def test_one_word_of_two_operations_says_which() -> None:
    spans = [
        span("manager.leave", 0, trace="t", told=WHO),
        span("manager.stop.files", 0.1, trace="t"),
        span("manager.run.files", 0.2, trace="t"),
    ]
    [entry] = timeline(story(spans=spans))
    assert [name for name, _ in entry.parts[0].steps] == ["stop files", "run files"]


def test_news_in_words_and_in_order() -> None:
    pulled = {"reference": "a/b:1", "digest": "sha256:1", "source": "http://mirror", "bytes": "2000", "seconds": "0.3"}
    news = [
        event(events.CONTAINER_STARTED, 2),
        event(events.EXITED, 9, exit_code=137, oom=True),
        Event(kind=events.IMAGE_PULLED, id="sha256:1", at=BEGIN - 1, detail=pulled),
        event(events.SERVICE_STARTED, 4, id="images", detail={"pid": "9"}),
        event(events.SERVICE_REPLACED, 5, id="nats", detail={"why": "stopped"}),
        event("news of a later version", 3),
    ]
    whole = story(events=news, spans=[stop(8, timeout="3 s")], doing=[doing("RemovePodSandbox", 10, id=POD, told=WHO)])
    assert [one.what for one in timeline(whole)] == [
        "image a/b:1 pulled from http://mirror, sha256:1, 2 kB in 0.3 s",
        "app runs",
        "images started (pid 9)",
        "nats hung and was replaced: stopped",
        "StopContainer app 3 s",
        "app ended with exit code 137 (OOM)",
        "RemovePodSandbox …",
    ]
