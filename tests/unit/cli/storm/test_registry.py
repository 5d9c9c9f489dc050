"""The storm's registry: a true answer, or the fault that is planned; each fault once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from cribus.cli.storm import image, plan, registry
from cribus.cli.storm.plan import CONFIG, MANIFEST, Fault, Pull
from cribus.cli.storm.registry import Registry

Get = Callable[..., Awaitable[httpx.Response]]
MADE = image.make("storm-1-1", Pull((5000,), {}))
PARTS = {one.kind: one for one in MADE.parts}
LAYER = f"/v2/cribus-chaos/1/blobs/{PARTS['0'].digest}"


@contextlib.asynccontextmanager
async def _serving(**faults: tuple[Fault, ...]) -> AsyncIterator[tuple[Registry, Get]]:
    one = Registry()
    async with one.serving(), httpx.AsyncClient(trust_env=False) as client:
        assert one.offer("1", MADE, faults) == f"{one.host}/cribus-chaos/1:v1"
        yield one, lambda path, **headers: client.get(f"http://{one.host}{path}", headers=headers)


def test_an_image_is_there_until_it_is_withdrawn() -> None:
    async def scenario() -> None:
        async with _serving() as (one, get):
            manifest = await get("/v2/cribus-chaos/1/manifests/v1")
            assert (manifest.status_code, manifest.content) == (200, PARTS[MANIFEST].data)
            assert manifest.headers["Content-Type"].startswith("application/vnd.oci.image.manifest")
            for part in MADE.parts:
                if part.kind != MANIFEST:
                    assert (await get(f"/v2/cribus-chaos/1/blobs/{part.digest}")).content == part.data
            assert (await get("/v2/cribus-chaos/1/manifests/v2")).status_code == 404
            one.withdraw("1")
            assert (await get(LAYER)).status_code == 404

    asyncio.run(scenario())


def test_the_rest_alone() -> None:
    async def scenario() -> None:
        async with _serving() as (_, get):
            rest = await get(LAYER, Range="bytes=4000-")
            assert (rest.status_code, rest.content) == (206, PARTS["0"].data[4000:])

    asyncio.run(scenario())


def test_a_status_once() -> None:
    async def scenario() -> None:
        async with _serving(config=(Fault(plan.BUSY, 429), Fault(plan.DOWN, 502))) as (one, get):
            path = f"/v2/cribus-chaos/1/blobs/{PARTS[CONFIG].digest}"
            busy, down, well = [await get(path) for _ in range(3)]
            assert (busy.status_code, busy.headers["Retry-After"]) == (429, "1")
            assert (down.status_code, well.content) == (502, PARTS[CONFIG].data)
            assert one.faults == {plan.BUSY: 1, plan.DOWN: 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(("kind", "error"), [(plan.RESET, httpx.ReadError), (plan.CUT, httpx.RemoteProtocolError)])
def test_an_answer_that_breaks_off(kind: str, error: type[Exception]) -> None:
    async def scenario() -> None:
        async with _serving(**{"0": (Fault(kind, after=0.5),)}) as (one, get):
            with pytest.raises(error):
                await get(LAYER)
            assert (await get(LAYER)).content == PARTS["0"].data
            assert one.faults == {kind: 1}

    asyncio.run(scenario())


def test_rubbish_is_refused_and_who_says_nothing_is_left_at_the_end() -> None:
    async def scenario() -> None:
        async with _serving() as (one, _):
            host, _, port = one.host.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HELO\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
            writer.close()
            silent, other = await asyncio.open_connection(host, int(port))
        assert await silent.read() == b""
        other.close()

    asyncio.run(scenario())


def test_whose_images_are_a_storms() -> None:
    assert registry.ours("127.0.0.1:5000/cribus-chaos/7:v1")
    assert not registry.ours("127.0.0.1:5000/web:v1")
    assert not registry.ours("localhost/cribus-chaos:latest")
    assert not registry.ours("registry.example/cribus-chaos/7:v1")
