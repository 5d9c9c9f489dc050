"""Packing and unpacking, here alone: msgpack on the wire, msgspec structures in the code.

A request is a map {id, n, deadline, trace, from, body}, an answer {code, message, body}; both say of which
generation of their sender they are. An answer
that is larger than one message may be goes as parts {part, of, chunk}, whose chunks, joined, are
the packed answer. Slim: the shim loads this.
"""

import time
from typing import Any, TypeVar

import msgpack
import msgspec

from cribus import pulse
from cribus.api.verb import Message, Verb
from cribus.errors import CribusError, FailedPrecondition, Internal, InvalidArgument, from_code

MAX_PAYLOAD = 700 << 10  # bytes; nats-server refuses 1 MiB and more
M = TypeVar("M", bound=Message)


class Meta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What travels with a request. `until` is its deadline, ns of the host's monotonic clock, 0 for none:
    caller and server are on one host, and its other clock may be set meanwhile. `deadline` is the same in ns
    since the epoch, for versions that do not know `until`. `n` counts sendings.
    `generation` of `program` sends it, 0 for one that nobody counts (pulse.py)."""

    id: str = ""
    n: int = 1
    until: int = 0
    deadline: int = 0
    trace: str = ""
    sender: str = ""
    program: str = ""
    generation: int = 0

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic_ns() > self.until if self.until else 0 < self.deadline < time.time_ns()


def within(seconds: float) -> tuple[int, int]:
    """A deadline in so many seconds: `until` and `deadline`."""
    nanoseconds = int(seconds * 1e9)
    return time.monotonic_ns() + nanoseconds, time.time_ns() + nanoseconds


def pack(value: object) -> bytes:
    """Plain values (dicts, lists, bytes, numbers) as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """Plain values back. Raises InvalidArgument for what is not msgpack."""
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidArgument(f"not a message of this bus: {error}") from error


def from_message(message: Message) -> Any:
    """A structure as plain values."""
    return msgspec.to_builtins(message, builtin_types=(bytes,))


def to_message(kind: type[M], body: object) -> M:
    """Plain values as a structure. Raises InvalidArgument that names the field that is wrong."""
    try:
        return msgspec.convert(body, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{kind.__name__}: {error}") from error


def pack_message(message: Message) -> bytes:
    return pack(from_message(message))


def unpack_message(kind: type[M], data: bytes) -> M:
    return to_message(kind, unpack(data))


def pack_request(meta: Meta, message: Message) -> bytes:
    """One request. Raises InvalidArgument when it is larger than a message may be."""
    data = pack({**msgspec.to_builtins(meta), "body": from_message(message)})
    if len(data) > MAX_PAYLOAD:
        raise InvalidArgument(f"the request has {len(data)} bytes; at most {MAX_PAYLOAD} fit into one message")
    return data


def unpack_request(data: bytes) -> tuple[Meta, Any]:
    """The meta part and the plain body of a request."""
    outer = unpack(data)
    if not isinstance(outer, dict):
        raise InvalidArgument("a request must be a map")
    body = outer.pop("body", {})
    try:
        return msgspec.convert(outer, Meta), body
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"request: {error}") from error


def pack_reply(message: Message) -> list[bytes]:
    """An answer, as the payloads of one or more messages."""
    return _parts(pack({"code": "", "body": from_message(message), **_generation()}))


def _generation() -> dict[str, int]:
    """Of the process that answers; absent where nobody counts."""
    _, generation = pulse.mark()
    return {"generation": generation} if generation else {}


def pack_error(error: BaseException) -> list[bytes]:
    """A failure as an answer. What is no CribusError is a defect of ours, and says so."""
    if not isinstance(error, CribusError):
        error = Internal(f"{type(error).__name__}: {error}")
    return _parts(pack({"code": error.code, "message": error.message, **_generation()}))


def _parts(data: bytes) -> list[bytes]:
    if len(data) <= MAX_PAYLOAD:
        return [data]
    chunks = [data[at : at + MAX_PAYLOAD] for at in range(0, len(data), MAX_PAYLOAD)]
    return [pack({"part": k, "of": len(chunks), "chunk": chunk}) for k, chunk in enumerate(chunks)]


class Answer:
    """Collects one answer from the messages that bring it, in whatever order, repeats included."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """The plain answer once it is whole, else None."""
        outer = unpack(data)
        if "of" not in outer:
            whole: dict[str, Any] = outer
            return whole
        self._chunks[outer["part"]] = outer["chunk"]
        if len(self._chunks) < outer["of"]:
            return None
        joined: dict[str, Any] = unpack(b"".join(self._chunks[k] for k in range(outer["of"])))
        return joined


def counts(verb: Verb[Any, Any], answer: dict[str, Any]) -> bool:
    """Whether an answer is of the process that serves now, or of one before it that cannot be asked again: what was
    done once counts, whoever has the place now."""
    return not (verb.repeatable and pulse.stale(verb.service, answer.get("generation", 0)))


def refuse_stale(meta: Meta) -> None:
    """Raises FailedPrecondition when whoever sent this request has a successor: it may want what no longer holds."""
    if pulse.stale(meta.program, meta.generation):
        raise FailedPrecondition(f"generation {meta.generation} of {meta.program} has a successor; nothing was done")


def result(kind: type[M], answer: dict[str, Any]) -> M:
    """The typed answer. Raises the error that the peer answered."""
    if answer.get("code"):
        raise from_code(answer["code"], answer.get("message", ""))
    return to_message(kind, answer.get("body", {}))
