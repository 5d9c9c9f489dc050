"""ContainerStatus: what the record says."""

import json
from typing import Any

import msgspec

from cribus.api.cri.container import (
    ContainerResources,
    ContainerStatus,
    ContainerStatusRequest,
    ContainerStatusResponse,
    ContainerUser,
    Mount,
)
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.values import ContainerState, Signal
from cribus.errors import NotFound
from cribus.manager import signals
from cribus.manager.node import Node
from cribus.manager.records import Container, State

# A container that is being made is not there yet.
VISIBLE = {
    State.CREATED: ContainerState.CONTAINER_CREATED,
    State.STARTING: ContainerState.CONTAINER_CREATED,
    State.RUNNING: ContainerState.CONTAINER_RUNNING,
    State.STOPPING: ContainerState.CONTAINER_RUNNING,
    State.EXITED: ContainerState.CONTAINER_EXITED,
    State.REMOVING: ContainerState.CONTAINER_EXITED,
}


async def status(node: Node, request: ContainerStatusRequest) -> ContainerStatusResponse:
    """Raises NotFound."""
    record = node.records.container(request.container_id)
    if record.state not in VISIBLE:
        raise NotFound(f"container {record.id} is being created")
    info = {"info": _info(node, record)} if request.verbose else {}
    return ContainerStatusResponse(status=of(record), info=info)


def of(record: Container) -> ContainerStatus:
    """A record as CRI's status."""
    state = VISIBLE[record.state]
    over = state is ContainerState.CONTAINER_EXITED
    running = state is ContainerState.CONTAINER_RUNNING
    config = record.config
    return ContainerStatus(
        id=record.id,
        metadata=config.metadata,
        state=state,
        created_at=record.created_at,
        started_at=record.started_at if over or running else 0,
        finished_at=record.finished_at if over else 0,
        exit_code=record.exit_code if over else 0,
        image=image_of(record),
        image_ref=record.image_ref,
        image_id=record.image_id,
        reason=record.reason,
        message=record.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=[_mount(record, mount) for mount in config.mounts],
        log_path=record.log_path,
        resources=ContainerResources(linux=record.resources) if record.resources else None,
        user=ContainerUser(linux=record.user),
        stop_signal=_stop_signal(record),
    )


def image_of(record: Container) -> ImageSpec:
    """The image by the name that its user gave."""
    asked = record.config.image or ImageSpec()
    return msgspec.structs.replace(asked, image=asked.user_specified_image or asked.image)


def _mount(record: Container, mount: Mount) -> Mount:
    reference = record.volume_refs.get(mount.container_path)
    if reference is None or mount.image is None:
        return mount
    return msgspec.structs.replace(mount, image=msgspec.structs.replace(mount.image, image_ref=reference))


def _stop_signal(record: Container) -> Signal:
    asked = record.config.stop_signal
    return asked if asked is not Signal.SIGNAL_RUNTIME_DEFAULT else signals.as_cri(record.stop_signal)


def _info(node: Node, record: Container) -> str:
    """What containerd gives under the same names, and where things lie."""
    known: dict[str, Any] = {
        "sandboxID": record.pod,
        "pid": record.pid,
        "state": record.state,
        "removing": record.state is State.REMOVING,
        "runDir": node.container_dir(record.id),
        "cgroup": record.cgroup,
        "config": msgspec.to_builtins(record.config, str_keys=True),
        "runtimeSpec": _spec(f"{node.container_dir(record.id)}/config.json"),
    }
    return json.dumps(known)


def _spec(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except FileNotFoundError:  # its pod is stopped, or the host was restarted
        return None
