"""CheckpointPod: containers of a pod that run, written down as of one moment.

What comes of it in the client's directory: an archive for each container, as CheckpointContainer makes it, and
`pod.options`, which says whose is which, in the words of checkpointctl. It is written last.
"""

import contextlib
import json
import os
import time
from typing import NamedTuple

from cribus import log
from cribus.api import images
from cribus.api.cri.sandbox import CheckpointPodRequest, CheckpointPodResponse
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager import container_checkpoint, podfiles
from cribus.manager.node import Node
from cribus.manager.records import Container, State

OPTIONS = "pod.options"
_MARGIN = 1.0  # seconds before the client's deadline at which it is given up, so that it can be told


async def checkpoint(node: Node, request: CheckpointPodRequest) -> CheckpointPodResponse:
    """Write them. All are paused before the first is written down, and go on before this ends, however it ends.

    Raises InvalidArgument for a wrong request, FailedPrecondition for a pod that is not ready, containers that do
    not run or cannot be written down, and a host without a working criu; DeadlineExceeded.
    """
    pod = node.records.sandbox(request.pod_sandbox_id)
    no_options(request.options)
    ids = _ids(node, pod.id, request.container_ids)
    await _check_place(node, request.output_path)
    left = seconds()
    target = _Target(request.output_path, container_checkpoint.until(left))
    await container_checkpoint.within(_locked(node, pod.id, ids, target), left)
    return CheckpointPodResponse()


def no_options(options: dict[str, str]) -> None:
    """Raises InvalidArgument: there is none that we know."""
    if options:
        raise InvalidArgument(f"option {sorted(options)[0]!r} is unknown; cribus has none")


def seconds() -> float:
    """Until shortly before the client's deadline."""
    until = int(log.current("until") or 0)
    left = (until - time.monotonic_ns()) / 1e9 if until else container_checkpoint.PATIENCE
    return max(0.1, left - _MARGIN)


def _ids(node: Node, pod: str, asked: list[str]) -> list[str]:
    if not asked:
        raise InvalidArgument("container_ids is empty: name the running containers to write down")
    found = [node.records.container(one) for one in asked]
    ids = sorted({one.id for one in found})
    if len(ids) != len(asked):
        raise InvalidArgument("container_ids names a container twice")
    for one in found:
        if one.pod != pod:
            raise FailedPrecondition(f"container {one.id} is not one of pod {pod}")
    return ids


async def _check_place(node: Node, path: str) -> None:
    if not path.startswith("/"):
        raise InvalidArgument(f"output_path {path!r} must be the absolute path of an empty directory")
    if not await node.look("empty", path):
        raise InvalidArgument(f"output_path {path} must be an empty directory that is there")


class _Target(NamedTuple):
    """Where it goes, and by when at the latest (ns since the epoch)."""

    path: str
    until: int


async def _locked(node: Node, pod: str, ids: list[str], target: _Target) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for id in (pod, *ids):  # the pod's first, as whoever removes it does
            await stack.enter_async_context(node.locks.of(id))
        if node.records.sandbox(pod).state is not State.READY:
            raise FailedPrecondition(
                f"pod {pod} is {node.records.sandbox(pod).state}: only a ready one is written down"
            )
        records = [container_checkpoint.running(node, id) for id in ids]
        await container_checkpoint.need(node)
        where = await stack.enter_async_context(container_checkpoint.folder(node, pod))
        logs = {f"container-{number}": record.log_path for number, record in enumerate(records)}
        async with container_checkpoint.paused(node, records):
            for name, record in zip(logs, records, strict=True):
                os.mkdir(f"{where}/{name}", 0o700)
                await container_checkpoint.capture(node, record, f"{where}/{name}")
        podfiles.write_atomic(f"{where}/{OPTIONS}", json.dumps(_options(records, list(logs))).encode(), 0o600)
        pack = images.PackPod(folder=where, location=target.path, logs=logs, until=target.until)
        await node.call(images.PACK_POD, pack, timeout=container_checkpoint.PATIENCE)


def _options(records: list[Container], names: list[str]) -> dict[str, object]:
    """checkpointctl's CheckpointedPodOptions."""
    called = [record.config.metadata.name if record.config.metadata else record.id for record in records]
    engine = {"org.criu.checkpoint.engine.name": "cribus"}
    return {"version": 1, "containers": dict(zip(called, names, strict=True)), "annotations": engine}
