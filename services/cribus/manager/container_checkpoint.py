"""CheckpointContainer: a running container's processes and files, in an archive, while it goes on running.

The archive is laid out as those of CRI-O and containerd are, for the tools that read them (checkpointctl). What is
written aside lies in a folder of the node's own until it is packed; the container is paused from before its
processes are written down until its files are, so that both are of one moment.
"""

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from cribus.api import executor, images
from cribus.api.cri.container import CheckpointContainerRequest, CheckpointContainerResponse
from cribus.api.verb import Empty
from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition, InvalidArgument
from cribus.manager import container_status, expendable, podfiles
from cribus.manager.node import Node
from cribus.manager.records import Container, State

_logger = logging.getLogger(__name__)
T = TypeVar("T")
_MARGIN = 0.3  # seconds that an answer may need
PATIENCE = 600.0  # seconds, where the client names none
_OWN_PLACES = {"/dev/shm", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}  # of each pod anew


async def checkpoint(node: Node, request: CheckpointContainerRequest) -> CheckpointContainerResponse:
    """Write the archive. Raises InvalidArgument for a wrong location, FailedPrecondition for a container that
    does not run or cannot be written down and for a host that has no working criu, DeadlineExceeded."""
    record = node.records.container(request.container_id)
    if request.timeout < 0:
        raise InvalidArgument("timeout is negative: give seconds, or 0 for the usual patience")
    await check_location(node, request.location)
    seconds = request.timeout or PATIENCE
    await within(_locked(node, record.id, request.location, until(seconds)), seconds)
    return CheckpointContainerResponse()


async def within(work: Awaitable[T], seconds: float) -> T:
    """Its outcome, or DeadlineExceeded at once: its undoing, which waits for criu, goes on by itself then."""
    task = asyncio.ensure_future(work)
    _undoing.add(task)
    task.add_done_callback(_undoing.discard)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(task)
    except TimeoutError as error:
        raise DeadlineExceeded(f"no checkpoint was written within {seconds:g} s, and none will be") from error
    finally:
        task.cancel()


_undoing: set[asyncio.Future[Any]] = set()


async def check_location(node: Node, location: str) -> None:
    """Raises InvalidArgument for a place where no archive can be."""
    if not location.startswith("/") or location.endswith("/"):
        raise InvalidArgument(f"location {location!r} must be the absolute path of the archive to write")
    seen = await node.look("place", location)
    if not seen["parent"]:
        raise InvalidArgument(f"location {location}: the directory of that path is not there")
    if seen["there"] and not seen["file"]:
        raise InvalidArgument(f"location {location} is there and is no file")


def until(seconds: float) -> int:
    """When an archive may appear at the latest, so that whoever waits so long hears of it; monotonic ns."""
    return time.monotonic_ns() + int(max(0.0, seconds - _MARGIN) * 1e9)


async def _locked(node: Node, id: str, location: str, until: int) -> None:
    async with node.locks.of(id):
        record = running(node, id)
        await need(node)
        async with folder(node, id) as where:
            async with paused(node, [record]):
                await capture(node, record, where)
            pack = images.Pack(folder=where, location=location, log=record.log_path, until=until)
            await node.call(images.PACK, pack, timeout=PATIENCE)


def running(node: Node, id: str) -> Container:
    record = node.records.container(id)
    if record.state is not State.RUNNING:
        raise FailedPrecondition(f"container {record.id} is {record.state}: only a running one can be checkpointed")
    return record


async def need(node: Node) -> None:
    """Raises FailedPrecondition where criu does not work, with the reason."""
    found = await node.call(executor.CRIU, Empty(), timeout=PATIENCE)
    if found.missing:
        raise FailedPrecondition(f"this host cannot checkpoint or restore: {found.missing}")


def home(node: Node) -> str:
    """What is on its way into an archive, or out of one."""
    return f"{node.settings.root}/checkpoints"


@asynccontextmanager
async def folder(node: Node, name: str) -> AsyncIterator[str]:
    """An empty folder that goes again, whatever happens."""
    where = f"{home(node)}/{name}"
    await _delete(where)
    os.makedirs(where, 0o700)
    try:
        yield where
    finally:
        await _delete(where)


async def _delete(where: str) -> None:
    def delete() -> None:
        shutil.rmtree(where, ignore_errors=not os.path.lexists(where))

    await expendable.run(delete, "deleting a checkpoint's files", PATIENCE)


@asynccontextmanager
async def paused(node: Node, records: list[Container]) -> AsyncIterator[None]:
    """None of them runs meanwhile; all go on afterwards. Should this process be killed, its successor lets them."""
    try:
        for record in records:
            await node.call(executor.PAUSE, executor.Named(container=record.id))
        yield
    finally:
        outcomes = await asyncio.gather(*(resume(node, one.id) for one in records), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


def resume_later(node: Node, container: str) -> None:
    """The same for a container that was being written down for a manager that was killed, whenever criu ends."""

    async def run() -> None:
        try:
            await resume(node, container)
        except CribusError as error:
            _logger.error("a container stays paused", extra={"container": container, "cause": error.message})

    task = asyncio.ensure_future(run())
    _undoing.add(task)
    task.add_done_callback(_undoing.discard)


async def resume(node: Node, container: str) -> None:
    """Let it go on. One that has ended meanwhile is no error."""
    try:
        await node.call(executor.RESUME, executor.Named(container=container), timeout=PATIENCE)
    except FailedPrecondition:
        if (await node.call(executor.STATE, executor.Named(container=container))).status != "stopped":
            raise


async def capture(node: Node, record: Container, where: str) -> None:
    """All of a paused container into a folder."""
    spec = _spec(node, record)
    await node.call(executor.CHECKPOINT, executor.Checkpoint(container=record.id, folder=where), timeout=PATIENCE)
    changes = images.Capture(container=record.id, path=f"{where}/rootfs-diff.tar")
    await node.call(images.CAPTURE, changes, timeout=PATIENCE)
    described = {
        "config.dump": described_config(record),
        "spec.dump": spec,
        "status.dump": msgspec.to_builtins(container_status.of(record)),
        "bind.mounts": await _binds(node, spec),
    }
    for name, document in described.items():
        podfiles.write_atomic(f"{where}/{name}", json.dumps(document).encode(), 0o600)


def _spec(node: Node, record: Container) -> dict[str, Any]:
    with open(f"{node.container_dir(record.id)}/config.json", "rb") as file:
        spec: dict[str, Any] = json.load(file)
    return spec


def described_config(record: Container) -> dict[str, Any]:
    """Of which container of which image, as CRI-O and containerd say it (config.dump)."""
    metadata, image = record.config.metadata, record.config.image
    return {
        "id": record.id,
        "name": metadata.name if metadata else "",
        "rootfsImage": (image.user_specified_image or image.image) if image else "",
        "rootfsImageRef": record.image_id,
        "rootfsImageName": record.image_ref,
        "runtime": "cribus",
        "createdTime": _time(record.created_at),
        "checkpointedTime": _time(time.time_ns()),
        "restoredTime": "0001-01-01T00:00:00Z",
        "restored": False,
    }


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat().replace("+00:00", "Z")


async def _binds(node: Node, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Of which kind the host's paths were that the container had mounted (CRI-O's bind.mounts)."""
    found = []
    for one in spec["mounts"]:
        if one["type"] == "bind" and one["destination"] not in _OWN_PLACES:
            seen = await node.look("place", one["source"])
            kind = "file" if seen["file"] else "directory"
            found.append({"source": one["source"], "destination": one["destination"], "file_type": kind})
    return found
