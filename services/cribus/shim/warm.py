"""What every shim does sooner or later, done once in the fork server: what msgspec and the interpreter
learn by it (how structures are packed, which methods are called) is then shared memory of all shims."""

import time

import msgspec

from cribus.api import events, executor, shim
from cribus.api.verb import Message
from cribus.shim import crilog, exits, sessions, verbs

_SAMPLES: tuple[Message, ...] = (
    shim.Take(container="c", pod="p"),
    shim.Named(container="c"),
    shim.ExecSync(container="c", cmd=["true"]),
    shim.ExecSyncDone(stdout=b"o"),
    shim.OpenExec(container="c", stream="s", cmd=["true"]),
    shim.OpenAttach(container="c", stream="s"),
    shim.StreamOpened(),
    executor.Exec(container="c", pod="p", exec_id="e", args=["true"]),
    executor.Execed(pid=1),
    events.Event(kind=events.EXITED, id="c", at=1),
)
_ASKED = (
    sessions.Asked(request="r", sync=shim.ExecSync(container="c", cmd=["true"])),
    sessions.Asked(request="r", exec=shim.OpenExec(container="c", stream="s", cmd=["true"])),
    sessions.Asked(request="r", attach=shim.OpenAttach(container="c", stream="s")),
)


def up() -> None:
    verbs.rehearse(_SAMPLES)
    msgspec.json.decode(msgspec.json.encode(_SAMPLES[0]), type=shim.Take)
    msgspec.json.decode(msgspec.json.encode(_SAMPLES[-1]), type=events.Event)
    for asked in _ASKED:
        msgspec.json.decode(msgspec.json.encode(asked), type=sessions.Asked)
    msgspec.json.decode(b'{"code":0,"signal":0,"at":1}', type=exits.Exit)
    msgspec.json.decode(b'{"user":"u"}', type=dict[str, str])
    crilog.render(b"", b"a\nb\n" + b"c" * crilog.LIMIT * 2, crilog.stamp(time.time_ns()) + b" stdout ", end=True)


up()
