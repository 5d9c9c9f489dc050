"""Collecting what is known of a pod: records, events, spans, what is being done, and what hangs."""

import asyncio
import json
import sys
import time
from typing import Any

import msgspec

from cribus.api import events, manager, trace
from cribus.api.cri.container import ContainerStatus
from cribus.api.cri.sandbox import ListPodSandboxRequest, PodSandbox, PodSandboxStatusRequest
from cribus.api.events import Event
from cribus.api.trace import Span
from cribus.api.verb import Empty
from cribus.bus.service import Bus
from cribus.cli import target
from cribus.cli.story.facts import SERVICES, Container, Doing, Hang, Story
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import CribusError, InvalidArgument, NotFound, Unimplemented

_ANSWER = 1.0  # seconds for a service to say what it does
_LOOK = 3.0  # seconds for the look at what hangs
_BEFORE = 600 * 10**9  # ns before a pod in which the pull of its image may have failed


async def story(bus: Bus, settings: Settings, wanted: str) -> Story:
    """Everything about the pod that `wanted` means. Raises NotFound when there never was one."""
    doing, silent = await _doing(bus, settings)
    found = await _record(bus, wanted) if "manager" not in silent else Story(node=bus.node, now=time.time_ns())
    since = max(0, found.created - _BEFORE)
    spans = [span async for span in bus.history.spans(since)]
    news = [event async for event in bus.history.events(since)]
    found = _identified(found, wanted, [*spans, *(one.span for one in doing)], news)
    if not found.pod and not found.name:
        raise NotFound(f"nothing is known of a pod or container {wanted}; `cribus pods` lists those that are there")
    found = with_removed(found, spans, news)
    found = msgspec.structs.replace(
        found,
        now=time.time_ns(),
        spans=related(spans, found),
        doing=doing,
        silent=silent,
        known_since=spans[0].began if spans else found.now,
    )
    pulls = [event async for event in bus.history.events(0, events.IMAGE_PULLED)] if since else news
    found = msgspec.structs.replace(found, events=_told(found, news, pulls))
    return msgspec.structs.replace(found, hangs=await hangs(settings, found))


async def _doing(bus: Bus, settings: Settings) -> tuple[list[Doing], dict[str, int]]:
    """What every service does, and which do not say so."""

    async def ask(service: str) -> trace.Going | None:
        try:
            return await bus.call(trace.going(service), Empty(), timeout=_ANSWER)
        except Unimplemented:  # of a version before this question: it answers, and that will do
            return trace.Going(pid=0)
        except CribusError:
            return None

    pids = {one.name: one.pid for one in await asyncio.to_thread(_programs, settings)}
    answers = await asyncio.gather(*(ask(service) for service in SERVICES))
    doing = [
        Doing(service=service, pid=answer.pid, span=span, thread=thread)
        for service, answer in zip(SERVICES, answers, strict=True)
        if answer is not None
        for span, thread in zip(answer.spans, answer.threads, strict=True)
    ]
    return doing, {name: pids.get(name, 0) for name, answer in zip(SERVICES, answers, strict=True) if answer is None}


def _programs(settings: Settings) -> list[control.Program]:
    try:
        return control.programs(settings)
    except CribusError:  # the services of another supervisor, or none: then their pids are not known
        return []


async def _record(bus: Bus, wanted: str) -> Story:
    """The pod as the manager has it; only the node's name when it has none."""
    nothing = Story(node=bus.node, now=time.time_ns())
    pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
    pod = await _meant(bus, pods, wanted)
    if pod is None:
        return nothing
    try:
        whole = await bus.call(manager.SANDBOX_STATUS, PodSandboxStatusRequest(pod_sandbox_id=pod.id))
    except NotFound:  # removed this very moment
        return nothing
    return msgspec.structs.replace(
        nothing,
        pod=pod.id,
        name=pod.metadata.name if pod.metadata else "",
        namespace=pod.metadata.namespace if pod.metadata else "",
        state=pod.state.name.removeprefix("SANDBOX_").lower(),
        created=pod.created_at,
        containers=[_container(one) for one in sorted(whole.containers_statuses, key=lambda one: one.created_at)],
    )


async def _meant(bus: Bus, pods: list[PodSandbox], wanted: str) -> PodSandbox | None:
    """The newest pod of that name, that id, or with that container."""
    for pod in sorted(pods, key=lambda one: -one.created_at):
        if (pod.metadata and pod.metadata.name == wanted) or pod.id.startswith(wanted):
            return pod
    try:
        id = await target.container(bus, wanted)
        located = await bus.call(manager.LOCATE, manager.Locate(id=id))
    except (NotFound, InvalidArgument):
        return None
    return next((pod for pod in pods if pod.id == located.pod), None)


def _container(one: ContainerStatus) -> Container:
    limits = one.resources.linux if one.resources else None
    return Container(
        id=one.id,
        name=one.metadata.name if one.metadata else "",
        state=one.state.name.removeprefix("CONTAINER_").lower(),
        image=(one.image.user_specified_image or one.image.image) if one.image else "",
        image_id=one.image_id or one.image_ref,
        reason=one.reason,
        message=one.message,
        memory_limit=limits.memory_limit_in_bytes if limits else 0,
    )


def _identified(found: Story, wanted: str, spans: list[Span], news: list[Event]) -> Story:
    """For a pod without a record: the newest one of that name or id that was ever asked for."""
    if found.pod:
        return found
    for span in sorted(spans, key=lambda one: -one.began):
        told = span.told
        if span.name == "RunPodSandbox" and (told.get("name") == wanted or _begins(span.id, wanted)):
            id = span.id or next((one.id for one in spans if one.trace == span.trace and len(one.id) == 64), "")
            return _seen(found, id, span)
    for event in reversed(news):
        if _begins(event.id, wanted) or _begins(event.pod, wanted):
            pod = event.pod or event.id
            made = next((one for one in spans if one.name == "RunPodSandbox" and one.id == pod), None)
            return _seen(found, pod, made)
    return found


def _begins(id: str, wanted: str) -> bool:
    return bool(id) and len(wanted) >= 4 and id.startswith(wanted)


def _seen(found: Story, pod: str, made: Span | None) -> Story:
    told = made.told if made else {}
    state = "being made" if made and not made.took else "removed" if made and not made.failure else "never made"
    return msgspec.structs.replace(
        found,
        pod=pod,
        name=told.get("name", ""),
        namespace=told.get("namespace", ""),
        state=state if made else "removed",
        created=made.began if made else 0,
    )


def related(spans: list[Span], found: Story) -> list[Span]:
    """The spans of every request that had to do with the pod, by time."""
    ids = found.ids()
    names = {one.image for one in found.containers}
    names |= {one.told["image"] for one in spans if one.told.get("pod") in ids and "image" in one.told}
    traces = {one.trace for one in spans if one.trace and _concerns(one, ids, names, found)}
    chosen = [one for one in spans if (one.trace in traces if one.trace else one.id in ids)]
    return sorted(chosen, key=lambda one: (one.began, -one.took))


def _concerns(span: Span, ids: set[str], images: set[str], found: Story) -> bool:
    told = span.told
    if span.id in ids or told.get("pod") in ids:
        return True
    if span.name == "PullImage":
        return told.get("image") in images or (bool(found.name) and told.get("pod_name") == found.name)
    same = bool(found.name) and (told.get("pod_name"), told.get("namespace", "")) == (found.name, found.namespace)
    return same and span.name == "RunPodSandbox" and bool(span.failure)


def with_removed(found: Story, spans: list[Span], news: list[Event]) -> Story:
    """With the containers that only spans and events know."""
    known = {one.id for one in found.containers}
    more: dict[str, Container] = {}
    for span in spans:
        mine = span.name == "CreateContainer" and span.told.get("pod") == found.pod
        if mine and not span.failure and span.id not in known:
            more[span.id] = Container(id=span.id, name=span.told.get("name", ""), image=span.told.get("image", ""))
    for event in news:
        if event.pod == found.pod and event.id != found.pod and event.id not in known:
            more.setdefault(event.id, Container(id=event.id))
    return msgspec.structs.replace(found, containers=[*found.containers, *more.values()])


def _told(found: Story, news: list[Event], pulls: list[Event]) -> list[Event]:
    """The events of the pod, and of services while it was there; and where its images came from."""
    ids, images = found.ids(), {one.image_id for one in found.containers}
    chosen = [one for one in news if one.id in ids or one.pod in ids]
    about_services = (events.SERVICE_STARTED, events.SERVICE_REPLACED)
    chosen += [one for one in news if one.kind in about_services and one.at > found.created]
    chosen += [one for one in pulls if one.kind == events.IMAGE_PULLED and _same(one.id, images)]
    return sorted(chosen, key=lambda one: one.at)


def _same(image: str, known: set[str]) -> bool:
    return any(image.removeprefix("sha256:") == one.rpartition("sha256:")[2] for one in known if one)


async def hangs(settings: Settings, found: Story) -> list[Hang]:
    """Threads that do not get on, below the services; by a process of its own, given up when it hangs too."""
    programs = {one.pid: one.name for one in await asyncio.to_thread(_programs, settings) if one.pid}
    roots = {**programs, **{one.pid: one.service for one in found.doing}}
    if not roots:
        return []
    looker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cribus.cli.story.kernel", *map(str, roots)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    seen: list[Hang] = []
    try:
        async with asyncio.timeout(_LOOK):
            assert looker.stdout is not None
            async for line in looker.stdout:
                raw: dict[str, Any] = json.loads(line)
                seen.append(msgspec.convert({**raw, "service": roots.get(raw["pid"], "")}, Hang))
            await looker.wait()
    except TimeoutError:  # what it saw until then is told; should it hang in the kernel, nobody waits for it
        looker.kill()
    return seen
