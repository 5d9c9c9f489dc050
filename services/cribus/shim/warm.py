"""What every shim does sooner or later, done once in the fork server: what msgspec and the interpreter
learn by it (how structures are packed, which methods are called) is then shared memory of all shims."""

import time

import msgspec

from cribus.api import events, executor, shim
from cribus.api.verb import Message
from cribus.bus import codec, wire
from cribus.bus.streams import Stream
from cribus.shim import crilog, exits

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


def up() -> None:
    for sample in _SAMPLES:
        kind = type(sample)
        _, body = codec.unpack_request(codec.pack_request(codec.Meta(id="i", deadline=1, sender="s"), sample))
        codec.to_message(kind, body)
        for part in codec.pack_reply(sample):
            codec.result(kind, codec.Answer().feed(part) or {})
    msgspec.json.decode(msgspec.json.encode(_SAMPLES[0]), type=shim.Take)
    msgspec.json.decode(msgspec.json.encode(_SAMPLES[-1]), type=events.Event)
    msgspec.json.decode(b'{"code":0,"signal":0,"at":1}', type=exits.Exit)
    msgspec.json.decode(b'{"user":"u"}', type=dict[str, str])
    list(wire.Parser().feed(b'INFO {"headers":true}\r\nMSG s 1 r 2\r\nab\r\nPING\r\n'))
    wire.hpub("s", {"k": "v"}, wire.pub("s", wire.connect("n", "u", "p"), "r"), "r")
    crilog.render(b"", b"a\nb\n" + b"c" * crilog.LIMIT * 2, crilog.stamp(time.time_ns()) + b" stdout ", end=True)
    Stream(lambda frame: None, [1, 2], [0]).feed(codec.pack(["d", 0, 0, b"x"]))


up()
