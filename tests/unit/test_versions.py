"""Versions N and N+1 understand each other: in messages, and in files that outlive a process."""

import importlib
import json
import pkgutil
from typing import Any

import msgspec
import pytest
from cribus import api
from cribus.api.events import Event
from cribus.api.shim import Take
from cribus.api.verb import Addressed, Message, Verb
from cribus.bus import codec
from cribus.executor import state
from cribus.images.store import Image
from cribus.manager import records
from cribus.shim.exits import Exit


def _messages() -> list[type[Message]]:
    for module in pkgutil.walk_packages(api.__path__, "cribus.api."):
        importlib.import_module(module.name)
    found, todo = [], [Message]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("cribus.api.") and not getattr(kind, "__parameters__", ()):
            found.append(kind)
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def _least(kind: Any) -> dict[str, Any]:
    """A body with nothing but what has no default."""
    samples = {str: "x", int: 1, bool: True, bytes: b"x", float: 1.0, list: [], dict: {}}
    body = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            plain = getattr(field.type, "__origin__", field.type)
            body[field.encode_name] = _least(plain) if hasattr(plain, "__struct_fields__") else samples[plain]
    return body


@pytest.mark.parametrize("kind", _messages(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_message_of_another_version(kind: type[Message]) -> None:
    """What it says beyond what we know is not heard, what it does not say has its default."""
    least = _least(kind)
    assert codec.to_message(kind, {**least, "from_the_future": {"more": 1}}) == codec.to_message(kind, least)


def test_what_surrounds_a_message() -> None:
    packed = codec.pack({"id": "1", "body": {}, "from_the_future": 1})
    meta, _ = codec.unpack_request(packed)
    assert (meta.id, meta.n, meta.deadline) == ("1", 1, 0)
    assert codec.result(Event, {"code": "", "body": {"kind": "k", "id": "i", "at": 1}, "from_the_future": 1}).id == "i"


def test_an_error_of_a_kind_that_we_do_not_know() -> None:
    with pytest.raises(Exception, match="in words"):
        codec.result(Event, {"code": "FROM_THE_FUTURE", "message": "in words"})


# As the first version wrote them. Do not change: there are nodes with such files.
FILES: dict[str, tuple[Any, str]] = {
    "take.json": (Take, '{"container":"c","pod":"p","log_path":"/l","tty":true}'),
    "state.json": (
        state.Record,
        '{"container":"c","pod":"p","handler":"","cgroup":"/g","created_at":5,"started_at":6,"ready":true,'
        '"pid":7,"started":8,"keeper":9,"keeper_started":10}',
    ),
    "record.json of a pod": (
        records.Sandbox,
        '{"id":"p","name":"n","state":"ready","config":{"metadata":{"name":"n","uid":"u"}},"created_at":5,'
        '"namespaces":{"net":"/n"},"cgroup":"/g","ips":["10.0.0.2"]}',
    ),
    "record.json of a container": (
        records.Container,
        '{"id":"c","pod":"p","name":"n","state":"exited","config":{},"created_at":5,"exit_code":3,"reason":"Error"}',
    ),
    "exit.json": (Exit, '{"code":137,"signal":9,"at":5}'),
    "exits/<container>.json": (Event, '{"kind":"exited","id":"c","at":5,"pod":"p","exit_code":3}'),
    "an image": (
        Image,
        '{"id":"sha256:1","manifest":"sha256:2","size":3,"layers":[{"digest":"sha256:3","diff_id":"sha256:4",'
        '"size":5,"media_type":"m"}]}',
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_first_version_and_of_a_later_one(name: str) -> None:
    kind, text = FILES[name]
    known = json.loads(text)
    old = msgspec.json.decode(text, type=kind)
    told = msgspec.to_builtins(old)
    assert {key: told[key] for key in known if key in told}.keys() == known.keys(), "nothing of it is lost"
    later = json.dumps({**known, "from_the_future": [1]})
    assert msgspec.json.decode(later, type=kind) == old


def test_a_service_is_asked_by_the_same_names() -> None:
    """Every verb that the first version had. One that goes breaks calls of an older service."""
    known: dict[str, Verb[Any, Any]] = {}
    for name in ("executor", "images", "manager", "shim", "shimd"):
        module = importlib.import_module(f"cribus.api.{name}")
        known |= {f"{name}.{one.name}": one for one in vars(module).values() if isinstance(one, Verb)}
    first = {
        "executor": "create_pod delete_pod create start kill delete exec pause resume update state states",
        "images": "list status pull remove fs_info prepare discard usage load save",
        "shim": "take release exec_sync exec attach reopen_log",
        "shimd": "start_shim stop_shim list_shims",
    }
    for service, verbs in first.items():
        assert {f"{service}.{verb}" for verb in verbs.split()} <= known.keys()
    assert all(isinstance(one, Addressed) for name, one in known.items() if name.startswith("shim."))
