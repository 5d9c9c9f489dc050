"""What belongs to a pod's story, and whose story a word asks for."""

import msgspec
from cribus.api import events
from cribus.api.events import Event
from cribus.cli.story.facts import Story
from cribus.cli.story.gather import _identified, _told, related, with_removed

from tests.unit.cli.story.tales import APP, BEGIN, POD, WHO, event, span, story

NOTHING = Story(node="unit", now=BEGIN)
OTHER = "b" * 64


def test_the_spans_of_every_request_about_the_pod() -> None:
    run = span(
        "RunPodSandbox", 0, id=POD, trace="t1", told={**WHO, "name": "web", "pod_name": "web", "namespace": "shop"}
    )
    step = span("manager.run.network", 1, id=POD, trace="t1")
    deep = span("executor.create_pod", 2, trace="t1")
    pull = span("PullImage", 3, trace="t2", told={**WHO, "image": "a/b:1"})
    inside = span("images.pull.manifest", 4, id="a/b:1", trace="t2")
    gone = span("CreateContainer", 5, id="d" * 64, trace="t3", told={**WHO, "pod": POD, "image": "x"})
    of_gone = span("shim.take.log", 6, id="d" * 64)
    other = span("RunPodSandbox", 7, id=OTHER, trace="t4", told={**WHO, "name": "db"})
    other_pull = span("PullImage", 8, trace="t5", told={**WHO, "image": "c/d:1"})
    spans = [other_pull, other, of_gone, gone, inside, pull, deep, step, run]
    assert related(spans, with_removed(story(), spans, [])) == [run, step, deep, pull, inside, gone, of_gone]


def test_tries_that_failed_before_under_the_same_name() -> None:
    told = {**WHO, "name": "web", "pod_name": "web", "namespace": "shop"}
    failed = span("RunPodSandbox", 0, trace="t1", told=told, failure="UNAVAILABLE: x")
    elsewhere = span("RunPodSandbox", 0, trace="t2", told={**told, "namespace": "b"}, failure="UNAVAILABLE: x")
    assert related([failed, elsewhere], story()) == [failed]


def test_a_pod_that_is_gone_is_known_by_name_and_by_id() -> None:
    told = {**WHO, "name": "old", "namespace": "shop"}
    spans = [
        span("RunPodSandbox", 0, id=OTHER, trace="t1", told=told),
        span("RunPodSandbox", 5, id=POD, trace="t2", told=told),
    ]
    for word in ("old", "aaaa"):
        found = _identified(NOTHING, word, spans, [])
        assert (found.pod, found.name, found.namespace, found.state) == (POD, "old", "shop", "removed")
    assert _identified(NOTHING, "bbbb", spans, []).pod == OTHER
    assert _identified(NOTHING, "cccc", [], [event(events.EXITED, 1)]).pod == POD
    assert _identified(NOTHING, "nobody", spans, []).pod == ""


def test_a_pod_that_was_never_made_and_one_that_is_being_made() -> None:
    told = {**WHO, "name": "new"}
    failed = span("RunPodSandbox", 0, trace="t1", told=told, failure="UNAVAILABLE: x")
    step = span("manager.run.network", 1, id=POD, trace="t1")
    assert _identified(NOTHING, "new", [failed, step], []).state == "never made"
    assert _identified(NOTHING, "new", [failed, step], []).pod == POD
    going = span("RunPodSandbox", 0, trace="t2", told=told, took=0)
    assert _identified(NOTHING, "new", [going], []).state == "being made"


def test_containers_that_are_gone_are_told_of() -> None:
    gone = "d" * 64
    create = span("CreateContainer", 1, id=gone, trace="t1", told={**WHO, "name": "first", "pod": POD, "image": "a/b"})
    found = with_removed(story(), [create], [event(events.EXITED, 2, id="e" * 64), event(events.EXITED, 3)])
    assert [(one.id, one.name) for one in found.containers] == [(APP, "app"), (gone, "first"), ("e" * 64, "")]


def test_which_events_belong() -> None:
    whole = story(containers=[msgspec.structs.replace(story().containers[0], image_id="sha256:77")])
    mine = [event(events.CONTAINER_STARTED, 1), event(events.SANDBOX_READY, 0, id=POD)]
    service = [Event(kind=events.SERVICE_STARTED, id="images", at=BEGIN + at) for at in (-5, 5)]
    image = [Event(kind=events.IMAGE_PULLED, id=f"sha256:{one}", at=BEGIN - 9) for one in ("77", "88")]
    other = Event(kind=events.EXITED, id=OTHER, pod=OTHER, at=BEGIN)
    found = _told(whole, [*mine, *service, other], image)
    assert [one.id for one in found] == ["sha256:77", POD, "images", APP]
