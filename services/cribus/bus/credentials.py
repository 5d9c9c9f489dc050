"""A user a service, with the least subjects it needs; made once, kept in files only root can read.

`<root>/bus/nats.conf` is the node's own server's configuration, `<root>/bus/<service>.json` what a
service logs in with. On a cluster that is somebody else's (`bus.url`) its servers have to know the
same users: `cribus credentials` prints them.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from cribus.api.events import EXITED
from cribus.bus import subjects
from cribus.config import Settings
from cribus.errors import FailedPrecondition

# Whom each user may call. What it may answer, publish as events and read follows from its name.
CALLS: dict[str, tuple[str, ...]] = {
    "gateway": ("manager", "images", "shim"),
    "manager": ("images", "shimd", "executor", "shim"),
    "images": (),
    "shimd": (),
    "shim": ("executor",),
    "executor": (),
    "cli": ("manager", "images", "shim", "shimd", "executor", "gateway"),
}
_MOST = 4 << 30  # bytes of all streams; those with limits of their own have less than a tenth of it
_STREAMS = ("gateway", "shim", "cli")
_READS_EVENTS = ("gateway", "manager", "cli")


class Login(msgspec.Struct, frozen=True):
    """Where the bus is and as whom to speak there."""

    url: str
    node: str
    service: str
    user: str = ""
    password: str = ""
    replicas: int = 1


def directory(settings: Settings) -> Path:
    return Path(settings.root) / "bus"


def login(settings: Settings, service: str) -> Login:
    """As whom `service` speaks on the bus. Raises FailedPrecondition when nothing was made for it."""
    url = settings.bus.url or f"nats://{settings.bus.listen}"
    path = directory(settings) / f"{service}.json"
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError as error:
        how = (
            "`cribus credentials` makes it, and prints what the bus must know"
            if settings.bus.url
            else "`cribus up` makes it"
        )
        raise FailedPrecondition(f"{path} is missing; {how}") from error
    except PermissionError as error:
        raise FailedPrecondition(f"{path} is for root only; run this as root") from error
    return Login(
        url=url,
        node=settings.node,
        service=service,
        user=known["user"],
        password=known["password"],
        replicas=settings.bus.replicas,
    )


def ensure(settings: Settings) -> Path:
    """Make what is missing; keeps the passwords that exist. The path of nats.conf. Idempotent."""
    made = users(settings)
    conf = directory(settings) / "nats.conf"
    _write(conf, json.dumps(_server(settings, made), indent=2))
    return conf


def users(settings: Settings) -> list[dict[str, Any]]:
    """The users of this node as a nats-server's configuration has them; missing credentials are made. Idempotent."""
    base = directory(settings)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = []
    for service in CALLS:
        path = base / f"{service}.json"
        if not path.exists():
            _make(path, json.dumps({"user": f"{settings.node}-{service}", "password": secrets.token_urlsafe(32)}))
        known = json.loads(path.read_text())
        found.append({**known, "permissions": permissions(settings.node, service)})
    return found


def _server(settings: Settings, users: list[dict[str, Any]]) -> dict[str, Any]:
    # sync_interval always: a record that was acknowledged survives a power cut. max_file_store: else it is what
    # the disk has free at the start, and on a disk that is nearly full no stream can be made.
    return {
        "listen": settings.bus.listen,
        "server_name": f"cribus-{settings.node}",
        "max_payload": 1 << 20,
        "ping_interval": "5s",
        "jetstream": {
            "store_dir": str(directory(settings) / "jetstream"),
            "sync_interval": "always",
            "max_file_store": _MOST,
        },
        "authorization": {"users": users, "timeout": 2},
    }


def permissions(node: str, service: str) -> dict[str, Any]:
    """nats-server permissions of one user, derived from what it serves and calls."""
    base = f"cribus.{node}"
    publish = [f"{base}.{peer}.>" for peer in CALLS[service]] + [
        f"{base}.events.>",
        f"{base}.trace.>",
        subjects.stuck(node, service),
        "_INBOX.>",
        "$SRV.>",
    ]
    listen = [f"{base}.{service}.>", f"{subjects.inbox(service)}.>", "$SRV.>"]
    if service in _STREAMS:
        publish.append(f"{base}.stream.>")
        listen.append(f"{base}.stream.>")
    if service == "images":
        publish.append(f"{base}.progress.>")
    if service == "cli":
        listen += [f"{base}.progress.>", subjects.stuck(node)]
    if service == "manager":
        listen.append(subjects.event_filter(node, EXITED))
    publish += _jetstream(node, service)
    return {"publish": {"allow": publish}, "subscribe": {"allow": listen}}


def _jetstream(node: str, service: str) -> list[str]:
    stream = subjects.event_stream(node)
    allowed = [f"$JS.API.STREAM.INFO.{stream}", f"$JS.API.STREAM.CREATE.{stream}", "$JS.API.INFO"]
    if service in _READS_EVENTS:
        allowed += _reading(stream)
    if service == "cli":
        inside = subjects.trace_stream(node)
        allowed += [f"$JS.API.STREAM.INFO.{inside}", *_reading(inside)]
    if service == "manager":
        records = f"KV_{subjects.bucket(node)}"
        allowed.append(f"$KV.{subjects.bucket(node)}.>")
        for one in (records, stream, subjects.trace_stream(node)):
            allowed += [f"$JS.API.STREAM.{what}.{one}" for what in ("INFO", "CREATE", "DELETE", "PURGE")]
            allowed += _reading(one)
    return allowed


def _reading(stream: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.*.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.>",
        f"$JS.ACK.{stream}.>",
        f"$JS.API.CONSUMER.*.{stream}",
    ]


def _make(path: Path, text: str) -> None:
    """A file that the first of several makers writes: the unit of a service manager and a `cribus up` beside it."""
    temporary = _beside(path, text)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def _write(path: Path, text: str) -> None:
    _beside(path, text).rename(path)


def _beside(path: Path, text: str) -> Path:
    """The text in a file of its own, on the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary
