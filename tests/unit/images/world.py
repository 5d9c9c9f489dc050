"""An image service in one process: real stores and real workers, a registry that is a dictionary."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import PullImageRequest
from cribus.api.events import Event
from cribus.api.images import Progress
from cribus.config import Images
from cribus.images import parcel, pull, worker
from cribus.images.node import Bus, Node
from cribus.images.tarstream import Chunks
from cribus.images.unpack import Unpacked, unpack
from cribus.linux.fds import close_all_but
from cribus.oci import image_spec

T = TypeVar("T")
HOST = "registry.test"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def unpacked(data: bytes, folder: Path) -> Unpacked:
    """A tar unpacked into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return unpack(Chunks(iter([data])), str(folder))


class Child:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)


async def spawn(function: str, request: dict[str, Any], fds: Sequence[int]) -> Child:
    """What the fork server does, by fork."""
    main = {"cribus.images.worker:main": worker.main, "cribus.images.parcel:main": parcel.main}[function]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            close_all_but([0, 1, 2, *fds])  # another child's pipe, too, which would never end
            code = main(request, list(fds))
        finally:
            os._exit(code)
    child = Child(pid)
    _running.append(pid)
    return child


_running: list[int] = []


class Body(httpx.SyncByteStream):
    """What a true transport gives: bytes that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), 65536):
            yield self._data[at : at + 65536]


class World:
    """A node and the blobs and manifests of its registry, by path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.served: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.events: list[Event] = []
        self.words: list[Progress] = []

    def node(self, settings: Images | None = None) -> Node:
        async def publish(event: Event) -> None:
            self.events.append(event)

        async def tell(subject: str, word: Progress) -> None:
            self.words.append(word)

        made = Node(settings or Images(), self.root, Bus(publish, tell, spawn))
        made.open()
        return made

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        data = self.served.get(request.url.path)
        if data is None:
            return httpx.Response(404)
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        return httpx.Response(206 if start else 200, stream=Body(data[start:]))

    def push(self, name: str, *layers: bytes, **config: Any) -> str:
        """An image of these plain tars under HOST/name:v1; the manifest's digest."""
        body = json.dumps({"config": config, "rootfs": {"diff_ids": [digest(one) for one in layers]}}).encode()
        described = [{"mediaType": image_spec.LAYER, "digest": digest(one), "size": len(one)} for one in layers]
        manifest = {
            "mediaType": image_spec.MANIFEST,
            "config": {"digest": digest(body), "size": len(body)},
            "layers": described,
        }
        data = json.dumps(manifest).encode()
        for blob in (body, *layers):
            self.served[f"/v2/{name}/blobs/{digest(blob)}"] = blob
        for reference in ("v1", digest(data)):
            self.served[f"/v2/{name}/manifests/{reference}"] = data
        return digest(data)

    async def pull(self, node: Node, name: str, **annotations: str) -> str:
        spec = ImageSpec(image=f"{HOST}/{name}:v1", annotations=annotations)
        return (await pull.pull(node, PullImageRequest(image=spec))).image_ref


def serve(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever pulls is answered by this world."""
    real = httpx.Client

    def direct(**settings: Any) -> httpx.Client:
        return real(transport=httpx.MockTransport(lambda request: world.answer(request)), follow_redirects=True)

    monkeypatch.setattr("cribus.images.registry.client.httpx.Client", direct)


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, children reaped."""

    try:
        return asyncio.run(work())
    except BaseException:
        for pid in _running:  # they may wait for what nobody does any more
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        while _running:
            os.waitpid(_running.pop(), 0)
