"""Why a pod is as it is: judgments on what is known. Pure; the most likely cause comes first."""

import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cribus.api import events
from cribus.api.events import Event
from cribus.api.trace import Span, is_question
from cribus.cli.output.table import short, size
from cribus.cli.story.facts import Container, Hang, Story

CAUSE, NOTE = "cause", "note"
_OURS = ("gateway", "manager", "images", "shimd", "shim", "executor")
_STOPPED = ("T", "t")  # by a signal, by a tracer (proc_pid_stat(5))
_TOGETHER = 15 * 10**9  # ns within which the services of a node start
_SLOW = 10**9  # ns


class Cause(NamedTuple):
    """`level` cause: this is why. note: it also happened."""

    level: str
    text: str
    next: str = ""  # what to do


def causes(story: Story) -> list[Cause]:
    """Every judgment, causes before notes."""
    looks: tuple[Callable[[Story], Iterator[Cause]], ...] = (
        hanging,
        failed,
        ended,
        stopped,
        silent,
        logs,
        replaced,
        restarts,
    )
    found = [one for look in looks for one in look(story)]
    return sorted(dict.fromkeys(found), key=lambda one: one.level != CAUSE)


def roots(story: Story) -> list[Span]:
    """What was asked from outside, by time: methods of CRI, and verbs that the command line asked."""
    return [one for one in story.spans if is_root(one)]


def is_root(span: Span) -> bool:
    caller = span.told.get("caller", "")
    return bool(caller) and caller not in _OURS and not is_question(span.name.rpartition(".")[2])


def caller(span: Span) -> str:
    return span.told.get("caller") or "somebody"


def method(span: Span) -> str:
    """`StopContainer` or `stop_container`, whoever asked."""
    return span.name.rpartition(".")[2]


def hanging(story: Story) -> Iterator[Cause]:
    """What is not getting on now, with the request that waits for it."""
    ids = story.ids()
    mine = [one for one in story.doing if concerns(one.span, story)]
    waits = next((one.span for one in mine if is_root(one.span)), None)
    slow = [one for one in mine if story.now - one.span.began > _SLOW]
    services = {one.service for one in slow} | {""}
    found = [one for one in story.hangs if one.owner in ids or (slow and not one.owner and one.service in services)]
    for one in found:
        yield Cause(CAUSE, _stuck(one, story.now) + _waiting(waits, story.now), _remedy(one))
    if slow and not found:
        steps = ", ".join(dict.fromkeys(one.span.name for one in slow if one.thread)) or slow[0].span.name
        yield Cause(CAUSE, f"it is still in {steps}{_waiting(waits, story.now)}")


def concerns(span: Span, story: Story) -> bool:
    """Whether something that is being done is for this pod."""
    ids = story.ids()
    same = bool(story.name) and story.name in (span.told.get("name"), span.told.get("pod_name"))
    return span.id in ids or span.told.get("pod") in ids or same


def _stuck(hang: Hang, now: int) -> str:
    where = f" in the system call {hang.call}" if hang.call else ""
    on = f" on {hang.on}" if hang.on else ""
    kernel = f" (kernel: {hang.kernel})" if hang.kernel else ""
    age = f" for {(now - hang.since) / 1e9:.0f} s" if hang.since else ""
    what = "is stopped by a signal (SIGSTOP)" if hang.state in _STOPPED else f"hangs{age}{where}{on}{kernel}"
    return f"{hang.program} (pid {hang.pid}) {what}"


def _waiting(span: Span | None, now: int) -> str:
    if span is None:
        return ""
    return f"; {method(span)}, asked by {caller(span)}, has waited for it for {(now - span.began) / 1e9:.0f} s"


def _remedy(hang: Hang) -> str:
    if hang.state in _STOPPED:
        return f"kill -CONT {hang.pid}"
    return (
        "is a network volume or a FUSE file system dead? umount -f -l it"
        if hang.on
        else f"look at its log; kill {hang.pid}"
    )


def failed(story: Story) -> Iterator[Cause]:
    """The last request of each kind about each thing, when it failed."""
    last: dict[tuple[str, str], Span] = {}
    for span in roots(story):
        about = span.told.get("image", "") if span.name == "PullImage" else span.told.get("name") or span.id
        last[method(span), about] = span
    for span in last.values():
        if span.failure:
            yield Cause(CAUSE, f"{method(span)}{_of(span, story)} failed: {_words(span.failure)}{_where(span, story)}")


def _of(span: Span, story: Story) -> str:
    if span.name == "PullImage":
        return f" {span.told.get('image', '')}"
    name = next((one.name for one in story.containers if one.id == span.id), "") or span.told.get("name", "")
    command = f" ({span.told['cmd']})" if "cmd" in span.told else ""
    return f" {name}{command}" if name else command


def _words(failure: str) -> str:
    code, _, text = failure.partition(": ")
    return f"{text} ({code})" if text and code.isupper() else failure


def _where(span: Span, story: Story) -> str:
    """The innermost step that failed, which is the first to have ended."""
    inside = [one for one in story.spans if one.trace == span.trace and one.failure and one is not span]
    inside = [one for one in inside if "CancelledError" not in one.failure and one.name.count(".") == 2]
    if not inside:
        return f"; asked by {caller(span)}"
    first = min(inside, key=lambda one: one.began + one.took)
    return f"; in step {first.name} after {first.took / 1e6:.1f} ms, asked by {caller(span)}"


def ended(story: Story) -> Iterator[Cause]:
    """How each container's last run ended."""
    for container in story.containers:
        last = [one for one in story.events if one.kind == events.EXITED and one.id == container.id][-1:]
        for event in last:
            yield from _ended(story, container, event)


def _ended(story: Story, container: Container, event: Event) -> Iterator[Cause]:
    name = f"container {container.name or short(container.id)}"
    kills = _kills(story, container.id, event.at)
    if event.oom:
        limit = f", which is {size(container.memory_limit)}" if container.memory_limit else ""
        yield Cause(
            CAUSE,
            f"{name} was killed by the kernel because it was out of memory (OOM): it reached its limit{limit}",
            "give it a higher memory limit, or find what it needs so much for",
        )
    elif not event.exit_known:
        yield Cause(CAUSE, f"{name} ended, and no witness saw how")
    elif event.signal and not _ours(kills, event.signal):
        sent = (
            "SIGKILL from outside: neither cribus nor the OOM killer sent it" if event.signal == 9 else _foreign(event)
        )
        sure = "" if _started(story, container.id) >= story.known_since else " (as far as the history goes back)"
        yield Cause(CAUSE, f"{name} was killed by {sent}{sure}", "ask who else on this host kills processes")
    elif kills:
        return  # `stopped` says who
    elif event.exit_code:
        yield Cause(
            CAUSE, f"{name} ended by itself with exit code {event.exit_code}", f"cribus logs {short(container.id)}"
        )
    else:
        yield Cause(NOTE, f"{name} ended by itself with exit code 0: it had done its work")


def _foreign(event: Event) -> str:
    return f"{_signal(event.signal)}, which cribus did not send: by itself, or from outside"


def _started(story: Story, id: str) -> int:
    return max((one.at for one in story.events if one.id == id and one.kind == events.CONTAINER_STARTED), default=0)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kills(story: Story, container: str, until: int) -> list[Span]:
    """The signals that cribus sent it before it ended."""
    sent = [one for one in story.spans if one.name == "executor.kill" and one.id == container and not one.failure]
    return [one for one in sent if one.began <= until]


def _ours(kills: list[Span], number: int) -> bool:
    return any(one.told.get("signal") == str(number) for one in kills)


def stopped(story: Story) -> Iterator[Cause]:
    """Who had a container ended, by which signals."""
    for container in story.containers:
        ends = [one for one in story.events if one.kind == events.EXITED and one.id == container.id]
        kills = _kills(story, container.id, ends[-1].at) if ends and not ends[-1].oom else []
        if not kills or (ends[-1].signal and not _ours(kills, ends[-1].signal)):
            continue
        name = f"container {container.name or short(container.id)}"
        asked = next((one for one in roots(story) if one.trace == kills[-1].trace), None)
        who = f"{method(asked)}, asked by {caller(asked)}" if asked else "cribus"
        first, last = kills[0], kills[-1]
        if last.told.get("signal") == "9" and first is not last:
            grace = (last.began - first.began) / 1e9
            text = (
                f"{name} did not end of {_signal(int(first.told['signal']))} within its grace period of {grace:.1f} s, "
                f"so cribus sent SIGKILL; {who}"
            )
            yield Cause(CAUSE, text, "let the program handle its stop signal, or give it a longer grace period")
        elif ends[-1].signal:
            yield Cause(NOTE, f"{name} was ended by {_signal(ends[-1].signal)} of {who}")
        else:
            sent = _signal(int(last.told.get("signal", "15")))
            yield Cause(NOTE, f"{name} ended with exit code {ends[-1].exit_code} after {sent} of {who}")


def silent(story: Story) -> Iterator[Cause]:
    for service, pid in story.silent.items():
        hang = next((one for one in story.hangs if one.pid == pid), None)
        if not pid:
            yield Cause(CAUSE, f"{service} does not answer (it does not run)", "cribus status")
        elif hang is None:
            yield Cause(CAUSE, f"{service} does not answer (pid {pid})", f"tail the log of {service}")
        elif hang.state in _STOPPED:
            yield Cause(CAUSE, f"{service} does not answer (pid {pid}, stopped by a signal)", f"kill -CONT {pid}")
        else:
            yield Cause(CAUSE, f"{service} does not answer: {_stuck(hang, story.now)}", f"kill -9 {pid}")


def logs(story: Story) -> Iterator[Cause]:
    """Output that is in no log; the last word on each container."""
    for event in {one.id: one for one in story.events if one.kind == events.LOG_LOST}.values():
        known = next((one.name for one in story.containers if one.id == event.id), "")
        said, name = event.detail, f"container {known or short(event.id)}"
        if said.get("cause"):
            yield Cause(CAUSE, f"the log of {name} takes no more ({said['cause']}): output is being lost", "df -h")
        else:
            yield Cause(NOTE, f"{said.get('lost_bytes', '?')} bytes of output of {name} are not in its log")


def replaced(story: Story) -> Iterator[Cause]:
    for event in story.events:
        if event.kind == events.SHIM_REPLACED:
            old, how, new = (event.detail.get(key, "") for key in ("pid", "how", "successor"))
            who = f"its shim (pid {old})" if old != "0" else "its shim"
            yield Cause(NOTE, f"{who} ended: {how}; shim pid {new} took over, the containers went on")
        if event.kind == events.SERVICE_REPLACED:
            yield Cause(NOTE, f"{event.id} hung and was replaced at {clock(event.at)}: {event.detail.get('why', '')}")


def restarts(story: Story) -> Iterator[Cause]:
    """Services that started during the pod's life, together or alone."""
    started = [one for one in story.events if one.kind == events.SERVICE_STARTED and one.at > story.created]
    while started:
        group = [one for one in started if one.at - started[0].at < _TOGETHER]
        names = dict.fromkeys(one.id for one in group)
        if {"manager", "executor", "shimd", "gateway"} <= set(names):
            yield Cause(NOTE, f"the whole node was started again at {clock(group[0].at)}; the pod went on meanwhile")
            group = [one for one in group if one.id in names]
        else:
            for name in names:
                count = sum(one.id == name for one in group)
                times = f"{count} times from {clock(group[0].at)} on" if count > 1 else f"at {clock(group[0].at)}"
                yield Cause(NOTE, f"{name} was started again {times}")
        started = started[len(group) :]


def clock(at: int) -> str:
    """The time of day here."""
    import datetime

    return datetime.datetime.fromtimestamp(at / 1e9).strftime("%H:%M:%S")
