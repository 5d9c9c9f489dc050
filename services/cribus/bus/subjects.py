"""The only place where a subject is put together: `cribus.<node>.<service>.<verb>[.<id>]`."""

from cribus.api.verb import A, Q, Verb
from cribus.errors import InvalidArgument

_FORBIDDEN = frozenset(" .*>\t\r\n")


def token(text: str) -> str:
    """`text` if it can be one token of a subject. Raises InvalidArgument: an id from a client may hold anything."""
    if not text or not _FORBIDDEN.isdisjoint(text):
        raise InvalidArgument(f"{text!r} is no id: it must not be empty or hold spaces, dots or wildcards")
    return text


def verb(node: str, asked: Verb[Q, A], id: str = "") -> str:
    """The subject of one verb; `id` picks one process of a service that has many."""
    base = f"cribus.{node}.{asked.service}.{asked.name}"
    return f"{base}.{token(id)}" if asked.addressed else base


def served(node: str, service: str, id: str) -> str:
    """Every verb of the one process that `id` addresses."""
    return f"cribus.{node}.{service}.*.{token(id)}"


def event(node: str, kind: str, id: str) -> str:
    return f"cribus.{node}.events.{kind}.{id}"


def event_filter(node: str, kind: str = "*") -> str:
    return f"cribus.{node}.events.{kind}.>"


def stream(node: str, stream_id: str, side: str) -> str:
    """Frames of an exec or attach stream to `side`: `c` the client's, `s` the server's."""
    return f"cribus.{node}.stream.{token(stream_id)}.{side}"


def progress(node: str, id: str) -> str:
    return f"cribus.{node}.progress.{token(id)}"


def stuck(node: str, service: str = "*") -> str:
    """Where a service says that the bus answers and its streams take nothing."""
    return f"cribus.{node}.stuck.{service}"


def trace(node: str, service: str) -> str:
    """Where a service tells what happened inside its operations."""
    return f"cribus.{node}.trace.{service}"


def trace_stream(node: str) -> str:
    """The JetStream stream that keeps what was told there."""
    return f"cribus_{node}_trace"


def inbox(service: str) -> str:
    """The prefix below which a service's answers arrive; no other user may listen there."""
    return f"_INBOX.{service}"


def event_stream(node: str) -> str:
    """The JetStream stream that holds the node's events."""
    return f"cribus_{node}_events"


def bucket(node: str) -> str:
    """The KV bucket that holds the node's records."""
    return f"cribus_{node}"
