"""CreateContainer: writable layer, runtime-spec and record. No process yet."""

import asyncio
import logging
import os
import secrets
import time
from typing import cast

import msgspec

from cribus import log
from cribus.api import images
from cribus.api.cri.container import (
    ContainerConfig,
    CreateContainerRequest,
    CreateContainerResponse,
    LinuxContainerUser,
)
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import PodSandboxConfig
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import FailedPrecondition, NotFound, Unimplemented
from cribus.manager import (
    container_remove,
    container_restore,
    create_check,
    handlers,
    lifecycle,
    names,
    podfiles,
    signals,
    sources,
    spec_build,
    spec_resources,
    volumes,
)
from cribus.manager.cdi import edits as cdi
from cribus.manager.container_restore import Checkpoint
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Container, Sandbox, State
from cribus.manager.wanted import Wanted
from cribus.oci.runtime_spec import Resources, Spec
from cribus.oci.validate import no_rdt, validate
from cribus.steps import Step

_logger = logging.getLogger(__name__)
_LAYER = Step("manager.create.layer")
_SOURCES = Step("manager.create.sources")
_VOLUMES = Step("manager.create.volumes")
_SPEC = Step("manager.create.spec")


async def create(node: Node, request: CreateContainerRequest, archive: str = "") -> CreateContainerResponse:
    """Make a container in a pod that is ready, and answer its id. `archive`: of the checkpoint that it is made from,
    which is of the very image that the configuration names.

    Raises InvalidArgument for a wrong configuration, NotFound for a pod or an image that is not
    there, FailedPrecondition for a pod that is not ready, AlreadyExists for a name that is taken.
    """
    config = request.config or ContainerConfig()
    metadata = create_check.check(config)
    pod = _ready_pod(node, request.pod_sandbox_id)
    create_check.check_against_pod(config, pod)
    name = names.of_container(metadata, pod.id)
    record = _begun(name, pod, request, archive)
    id = await node.names.join(name, _wish(record), lambda: _make(node, record))
    return CreateContainerResponse(container_id=id)


def _wish(record: Container) -> tuple[ContainerConfig, str, str]:
    """What was asked for, by which a repeat is known."""
    return record.config, record.log_path, record.checkpoint


def _ready_pod(node: Node, id: str) -> Sandbox:
    pod = node.records.sandbox(id)
    if pod.state is not State.READY:
        raise FailedPrecondition(f"pod {pod.id} is {pod.state}: containers can be made in one that is ready")
    return pod


async def _make(node: Node, record: Container) -> str:
    async with node.locks.of(record.pod):
        pod = _ready_pod(node, record.pod)
        owner = node.records.containers.get(node.records.owner(record.name))
        if owner is not None and owner.state is State.CREATING:
            await undo(node, owner)  # nobody works on it: we have the name
        elif owner is not None:
            alike = _wish(owner) == _wish(record)
            if names.repeated(owner, alike=alike, unused=owner.state is State.CREATED):
                return owner.id
        with log.ids(pod=pod.id, container=record.id):
            await lifecycle.begin(node, record)
            try:
                record = await set_up(node, record, pod)
                record = await _created(node, record)
                await node.nri.tell(Event.POST_CREATE_CONTAINER, record)
            except Exception:
                await undo(node, record)
                raise
    return record.id


def _begun(name: str, pod: Sandbox, request: CreateContainerRequest, archive: str) -> Container:
    config = request.config or ContainerConfig()
    now = time.time_ns()
    id = secrets.token_hex(32)
    folder = (request.sandbox_config or PodSandboxConfig()).log_directory or pod.config.log_directory
    record = Container(
        id=id,
        pod=pod.id,
        name=name,
        config=config,
        created_at=now,
        changed_at=now,
        request=log.current("request"),
        log_path=os.path.join(folder, config.log_path) if folder and config.log_path else "",
        resources=config.linux.resources if config.linux else None,
        checkpoint=archive,
    )
    return msgspec.structs.replace(record, volumes=sources.volume_names(record))


async def set_up(node: Node, record: Container, pod: Sandbox) -> Container:
    """Layer, files and spec. The record with what came of it."""
    with _LAYER.of(record.id):
        prepared, checkpoint = await _layer(node, record)
    with _SOURCES.of(record.id):
        found = await sources.gather(node, record, pod)
    wanted = Wanted(
        id=record.id,
        config=record.config,
        pod=pod,
        prepared=prepared,
        sources=found,
        host=await handlers.host(node, pod.handler),
        cgroups_path=cgroups_path(node, pod, record.id),
        volumes_dir=node.volumes_dir(record.id),
    )
    identity = spec_build.identity(wanted)
    record = msgspec.structs.replace(
        record,
        image_id=prepared.image_id,
        image_ref=prepared.image_ref,
        stop_signal=signals.name(record.config.stop_signal, wanted.image_text("StopSignal")),
        user=LinuxContainerUser(uid=identity.uid, gid=identity.gid, supplemental_groups=identity.groups),
        cgroup=node.tree.container_path(pod.cgroup, record.id),
        volume_refs=wanted.sources.volume_refs,
    )
    spec = await cdi.inject(spec_build.build(wanted, identity), cdi.asked(record.config))
    record, spec = await _adjusted(node, record, pod, spec)
    _check(node, pod, spec)
    if checkpoint is not None:
        container_restore.check_mounts(checkpoint, spec)
        if record.checkpoint:
            container_restore.check_process(checkpoint, spec)
        record = msgspec.structs.replace(record, restore=checkpoint.folder)
    validate(spec)
    with _VOLUMES.of(record.id):
        await volumes.fill(wanted)
    with _SPEC.of(record.id):
        os.makedirs(node.container_dir(record.id), 0o711, exist_ok=True)
        document = sources.encode(spec)
        podfiles.write_atomic(f"{node.container_dir(record.id)}/config.json", document, 0o600)
        kept = msgspec.structs.replace(record, state=State.CREATED)
        node.kept.put(record.id, msgspec.json.encode(kept), document)
    return record


async def _layer(node: Node, record: Container) -> tuple[images.Prepared, Checkpoint | None]:
    """The writable layer over the image that is named, or over that of the checkpoint that is named instead."""
    image = (record.config.image or ImageSpec()).image
    if record.checkpoint:
        found = await container_restore.unpack(node, record.id, record.checkpoint)
        prepared = await container_restore.prepare(node, record.id, found._replace(image=image))
        container_restore.check_image(found, prepared)
        return prepared, found
    if not image.startswith("/"):
        try:
            prepared = await node.call(images.PREPARE, images.Prepare(container=record.id, image=image))
        except NotFound as error:
            raise NotFound(f"image {image} is not present on this node; pull it first") from error
        if not prepared.checkpoint:
            return prepared, None
        await node.call(images.DISCARD, images.Discard(container=record.id))
    found = await container_restore.unpack(node, record.id, image)
    return await container_restore.prepare(node, record.id, found), found


async def _adjusted(node: Node, record: Container, pod: Sandbox, spec: Spec) -> tuple[Container, Spec]:
    """As NRI plugins want it. Raises FailedPrecondition when one refuses the container."""
    made = await node.nri.create(pod, record, spec)
    if made is None:
        return record, spec
    adjusted = await cdi.inject(made.spec, made.cdi_devices)
    process, linux = adjusted["process"], adjusted["linux"]
    limits = spec_resources.laid_over(spec_resources.resources(made.limits, node.host), made.extra)
    linux["resources"] = cast(Resources, spec_resources.laid_over(linux["resources"], limits))
    whole = spec_resources.merged(record.resources or LinuxContainerResources(), made.limits)
    if process["oomScoreAdj"] != spec["process"]["oomScoreAdj"]:
        process["oomScoreAdj"] = max(process["oomScoreAdj"], node.host.oom_score_floor)
        whole = msgspec.structs.replace(whole, oom_score_adj=process["oomScoreAdj"])
    known = whole if whole != LinuxContainerResources() else record.resources
    cgroup = node.tree.spec_path(linux["cgroupsPath"], record.id)
    return msgspec.structs.replace(record, resources=known, cgroup=cgroup), adjusted


def _check(node: Node, pod: Sandbox, spec: Spec) -> None:
    """Raises Unimplemented for what NRI plugins or CDI devices would want in vain."""
    handler = node.settings.handlers.get(pod.handler)
    if "intelRdt" in spec["linux"] and not (handler and handler.path):
        raise Unimplemented(f"NRI plugins or CDI devices want an RDT class: {no_rdt(node.host.resctrl)}")


async def _created(node: Node, record: Container) -> Container:
    return await lifecycle.move(
        node,
        record,
        State.CREATED,
        image_id=record.image_id,
        image_ref=record.image_ref,
        stop_signal=record.stop_signal,
        user=record.user,
        cgroup=record.cgroup,
        restore=record.restore,
        resources=record.resources,
        volume_refs=record.volume_refs,
    )


def cgroups_path(node: Node, pod: Sandbox, id: str) -> str:
    """runtime-spec's linux.cgroupsPath: a path, or slice:prefix:name with the systemd driver."""
    if node.tree.driver == "systemd":
        return f"{os.path.basename(pod.cgroup)}:cribus:{id}"
    return node.tree.container_path(pod.cgroup, id)


async def undo(node: Node, record: Container) -> None:
    """A container that did not come to be leaves nothing, and its name is free.

    When even that fails, the record stays, and the next request for the name tries again.
    """
    try:
        await container_remove.teardown(node, record)
        await node.nri.undone(record)
        await lifecycle.gone(node, record)
    except asyncio.CancelledError:
        raise
    except Exception:
        _logger.exception("a failed container could not be torn down yet", extra={"container": record.id})
