"""What happened inside an operation: which process did what, for whom, how long, and what it failed of.

Published in batches on `cribus.<node>.trace.<service>`, without waiting and without an answer, into a
stream with limits. It is for people who ask why (`cribus why`): nothing of ours decides by it.
"""

from functools import cache

from cribus.api.verb import Empty, Message, Verb

# Words in the name of a verb or of a CRI method that changes nothing: kubelet asks these all day.
_ASKING = frozenset(
    ("list", "stream", "status", "stats", "state", "states", "info", "usage", "locate", "metrics", "descriptors")
)
_ASKING |= {"config", "version", "events", "going"}
# Probes, and what surrounds everything: each alone is no news, unless it is slow or fails.
_OFTEN = frozenset(("exec", "exec_sync", "ExecSync", "call", "event"))
SLOW = 1_000_000_000  # ns


class Span(Message, frozen=True):
    """A step (`manager.run_sandbox.network`), a verb (`manager.run_sandbox`) or a method of CRI (`RunPodSandbox`).

    Times in ns, `began` since the epoch; `took` is 0 for one that is still going.
    """

    name: str
    began: int
    took: int = 0
    id: str = ""  # of the pod, container or image
    trace: str = ""
    failure: str = ""
    told: dict[str, str] = {}  # of a request: who asked (`caller`), for what, until when


class Batch(Message, frozen=True):
    """Spans of one process; `lost` counts those that did not fit while the bus was away."""

    service: str
    pid: int
    spans: list[Span] = []
    lost: int = 0


class Going(Message, frozen=True):
    """What a process is doing now. `threads` has the thread of each span, for /proc/<pid>/task."""

    pid: int
    spans: list[Span] = []
    threads: list[int] = []


@cache
def going(service: str) -> Verb[Empty, Going]:
    """What each service can be asked: what it is doing now."""
    return Verb(service, "going", Empty, Going)


@cache
def is_question(name: str) -> bool:
    """Whether a verb or method of that name (`list_shims`, `ListPodSandbox`) changes nothing."""
    words = "".join(f"_{one.lower()}" if one.isupper() else one for one in name).strip("_").split("_")
    return not _ASKING.isdisjoint(words) and words[0] != "update"


def is_news(span: Span) -> bool:
    """Whether a span is worth keeping."""
    name = span.name.partition(".")[2].partition(".")[0] or span.name
    if span.failure or span.took >= SLOW:
        return not (is_question(name) and span.failure.startswith("NOT_FOUND"))
    return not is_question(name) and name not in _OFTEN
