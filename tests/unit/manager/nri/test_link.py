"""ttrpc over a socket pair: questions both ways, and every way in which a peer can fail."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from cribus.errors import InvalidArgument
from cribus.manager.nri import frames
from cribus.manager.nri import messages as m
from cribus.manager.nri.frames import Frame
from cribus.manager.nri.link import Link, Lost, Refused
from cribus.manager.nri.protobuf import decode, encode

from tests.unit.manager.conftest import Run


class Peer:
    """The plugin's end, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._inbox, self._frames = frames.Inbox(), asyncio.Queue[tuple[int, Frame]]()

    async def get(self) -> tuple[int, Frame]:
        while self._frames.empty():
            for one in self._inbox.feed(await self.reader.read(1 << 16)):
                self._frames.put_nowait(one)
        return self._frames.get_nowait()

    async def answer(self, response: m.Response) -> m.Request:
        _, frame = await self.get()
        self.put(frames.PLUGIN, Frame(frame.stream, frames.RESPONSE, encode(response)))
        return decode(m.Request, frame.data)

    def put(self, connection: int, frame: Frame) -> None:
        self.writer.write(frames.pack(connection, frame))


async def echo(service: str, method: str, payload: bytes) -> bytes:
    if method == "Refuse":
        raise InvalidArgument("no")
    return f"{service}/{method}:".encode() + payload


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Peer]]:
    ours, theirs = socket.socketpair()
    link = Link(await asyncio.open_unix_connection(sock=ours), "S", echo)
    peer = Peer(*await asyncio.open_unix_connection(sock=theirs))
    reading = asyncio.ensure_future(link.run())
    try:
        yield link, peer
    finally:
        link.close("the test is over")
        await reading
        peer.writer.close()


def ask(link: Link, seconds: float = 5) -> asyncio.Future[m.SynchronizeResponse]:
    return asyncio.ensure_future(link.call("M", m.PluginInstance(name="n"), m.SynchronizeResponse, seconds))


def test_a_question_and_its_answer(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            asked = ask(link)
            question = await peer.answer(m.Response(payload=encode(m.SynchronizeResponse(more=True))))
            assert (question.service, question.method) == ("S", "M")
            assert decode(m.PluginInstance, question.payload).name == "n"
            assert question.timeout_nano == 5_000_000_000
            assert (await asked).more

    run(story())


def test_questions_at_a_time_are_told_apart_by_odd_numbers(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            first, second = ask(link), ask(link)
            (_, one), (_, two) = await peer.get(), await peer.get()
            assert (one.stream, two.stream) == (1, 3)
            for frame, more in ((two, True), (one, False)):
                answer = m.Response(payload=encode(m.SynchronizeResponse(more=more)))
                peer.put(frames.PLUGIN, Frame(frame.stream, frames.RESPONSE, encode(answer)))
            assert (await first).more is False
            assert (await second).more is True

    run(story())


def test_an_error_is_an_answer(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            asked = ask(link)
            await peer.answer(m.Response(status=m.Status(code=9, message="not now")))
            with pytest.raises(Refused, match="not now") as caught:
                await asked
            assert caught.value.code == 9
            assert not link.over

    run(story())


def test_who_is_late_is_lost(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, _):
            with pytest.raises(Lost, match="did not answer M within"):
                await ask(link, 0.05)

    run(story())


def test_who_does_not_read_is_late_too(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
            big = m.PluginInstance(name="x" * 3_000_000)
            with pytest.raises(Lost, match="did not answer"):
                await link.call("M", big, m.Empty, 0.1)

    run(story())


def test_who_goes_is_lost_at_once(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            asked = ask(link)
            await peer.get()
            peer.writer.close()
            with pytest.raises(Lost, match="closed the connection"):
                await asked
            with pytest.raises(Lost, match="closed the connection"):
                await ask(link)

    run(story())


RUBBISH = {
    "no NRI plugin": b"GET / HTTP/1.1\r\n\r\n",
    "kind 3": frames.pack(frames.PLUGIN, Frame(1, 3, b"")),
    "cut off": frames.pack(frames.PLUGIN, Frame(1, frames.RESPONSE, b"\x08\xff")),
    "wire type": frames.pack(frames.RUNTIME, Frame(1, frames.REQUEST, b"\x0b")),
}


@pytest.mark.parametrize("sentence", RUBBISH)
def test_who_talks_rubbish_is_lost(run: Run, sentence: str) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            asked = ask(link)
            await peer.get()
            peer.writer.write(RUBBISH[sentence])
            with pytest.raises(Lost, match=sentence):
                await asked

    run(story())


def test_an_answer_that_cannot_be_read(run: Run) -> None:
    async def story() -> None:
        async with linked() as (link, peer):
            asked = ask(link)
            await peer.answer(m.Response(payload=b"\x0a\x7f"))
            with pytest.raises(Lost, match="its answer to M cannot be read"):
                await asked

    run(story())


async def question(peer: Peer, stream: int, method: str) -> m.Response:
    asked = m.Request(service="R", method=method, payload=b"x")
    peer.put(frames.RUNTIME, Frame(stream, frames.REQUEST, encode(asked)))
    connection, frame = await peer.get()
    assert (connection, frame.stream, frame.kind) == (frames.RUNTIME, stream, frames.RESPONSE)
    return decode(m.Response, frame.data)


def test_the_plugins_own_questions(run: Run) -> None:
    async def story() -> None:
        async with linked() as (_, peer):
            assert (await question(peer, 1, "Ask")).payload == b"R/Ask:x"
            refused = (await question(peer, 3, "Refuse")).status
            assert refused == m.Status(code=3, message="no")

    run(story())


def test_too_many_questions_at_a_time_are_refused(run: Run) -> None:
    async def story() -> None:
        gate = asyncio.Event()

        async def slow(service: str, method: str, payload: bytes) -> bytes:
            await gate.wait()
            return b""

        async with linked() as (link, peer):
            link._serve = slow
            for k in range(20):
                asked = m.Request(service="R", method="Ask")
                peer.put(frames.RUNTIME, Frame(2 * k + 1, frames.REQUEST, encode(asked)))
            codes = []
            for k in range(20):
                if k == 4:
                    gate.set()
                _, frame = await peer.get()
                status = decode(m.Response, frame.data).status
                codes.append(status.code if status else 0)
            assert codes == [8] * 4 + [0] * 16

    run(story())
