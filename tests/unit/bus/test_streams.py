"""Two ends of a stream over a connection that loses frames: every byte arrives once, in order."""

import random

import pytest
from cribus.bus.codec import pack
from cribus.bus.streams import STDIN, STDOUT, WINDOW, Stream
from cribus.errors import InvalidArgument


def _pump(seed: int, loss: float) -> None:
    rng = random.Random(seed)
    to_client: list[bytes] = []
    to_server: list[bytes] = []
    server = Stream(to_client.append, [STDOUT], [STDIN])
    client = Stream(to_server.append, [STDIN], [STDOUT])
    data = rng.randbytes(3 * WINDOW)
    got, offset, ended, code = b"", 0, False, None
    for step in range(20000):
        if offset < len(data):
            offset += server.outgoing[STDOUT].write(data[offset : offset + rng.randint(1, 90000)])
            assert server.outgoing[STDOUT]._kept.size - server.outgoing[STDOUT].acked <= WINDOW
            if offset == len(data):
                server.outgoing[STDOUT].end()
                server.exit(3)
        for frame in _taken(to_client, rng, loss):
            what = client.feed(frame)
            if what[0] == "data":
                got += what[2]
                client.incoming[STDOUT].done(len(what[2]))
            ended = ended or client.incoming[STDOUT].at_end()
            code = what[1] if what[0] == "exit" else code
        for frame in _taken(to_server, rng, loss):
            server.feed(frame)
        if ended and code is not None:
            break
        if step % 50 == 49:
            server.reconnected()
            client.reconnected()
    assert got == data, seed
    assert code == 3


def _taken(queue: list[bytes], rng: random.Random, loss: float) -> list[bytes]:
    kept = [frame for frame in queue if rng.random() >= loss]
    queue.clear()
    return kept


def test_without_loss() -> None:
    _pump(1, 0.0)


def test_with_loss() -> None:
    for seed in range(10):
        _pump(seed, 0.2)


def test_a_reader_that_stalls_stops_the_writer() -> None:
    frames: list[bytes] = []
    sender = Stream(frames.append, [STDOUT], [])
    assert sender.outgoing[STDOUT].write(b"x" * (2 * WINDOW)) == WINDOW
    assert sender.outgoing[STDOUT].write(b"x") == 0


def test_a_sender_is_drained_although_the_data_was_short() -> None:
    to_client: list[bytes] = []
    to_server: list[bytes] = []
    server = Stream(to_client.append, [STDOUT], [])
    client = Stream(to_server.append, [], [STDOUT])
    server.outgoing[STDOUT].write(b"hi")
    assert client.feed(to_client.pop(0)) == ("data", STDOUT, b"hi")
    client.incoming[STDOUT].done(2)
    server.outgoing[STDOUT].end()
    assert client.feed(to_client.pop(0)) == ("end", STDOUT)
    for frame in to_server:
        server.feed(frame)
    assert server.drained()


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", pack([]), pack(5), pack(["d", 0]), pack(["d", 0, "x", b""]), pack(["a"])]
)
def test_rubbish_is_named(frame: bytes) -> None:
    with pytest.raises(InvalidArgument):
        Stream(lambda frame: None, [1], [0]).feed(frame)
