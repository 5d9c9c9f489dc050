"""Looking up on the host what a spec needs: mount sources, devices, profiles, image volumes."""

import asyncio
import errno
import json
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar, cast

import msgspec

from cribus.api import images
from cribus.api.cri.container import ContainerConfig, Device, LinuxContainerConfig, Mount
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import MountPropagation, NamespaceMode, ProfileType
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from cribus.manager import looks, security
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State
from cribus.manager.wanted import Sources, clean, is_image, pod_modes
from cribus.oci import runtime_spec

T = TypeVar("T")
POD_FILES = {"/etc/hostname": "hostname", "/etc/hosts": "hosts", "/etc/resolv.conf": "resolv.conf"}


async def gather(node: Node, record: Container, pod: Sandbox) -> Sources:
    """Everything that building the spec of this container needs to know of the host.

    Raises InvalidArgument, NotFound or FailedPrecondition that names the mount or device.
    """
    config = record.config
    context = (config.linux or LinuxContainerConfig()).security_context or LinuxContainerSecurityContext()
    binds = [mount for mount in config.mounts if not is_image(mount)]
    paths = dict(zip((one.host_path for one in binds), await _each(_source(node, one) for one in binds), strict=True))
    devices, access = await _devices(node, config.devices)
    layers, refs = await _image_volumes(node, record)
    return Sources(
        paths=paths,
        devices=devices,
        device_access=access,
        host_devices=looks.devices() if context.privileged else [],
        seccomp=await _local_seccomp(node, context),
        apparmor=await _apparmor(node, context),
        target_pid=_target(node, record, context),
        image_volumes=layers,
        volume_refs=refs,
        pod_files=_pod_files(node, config, pod),
    )


def volume_names(record: Container) -> list[str]:
    """Under these names the image volumes of a container are prepared: ids like a container's own."""
    count = sum(1 for mount in record.config.mounts if is_image(mount))
    return [f"{number:04x}{record.id[4:]}" for number in range(count)]


async def _each(looking: Iterable[Awaitable[T]]) -> list[T]:
    """Side by side. Raises the first failure, once all have ended."""
    outcomes = await asyncio.gather(*looking, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[T], outcomes)


async def _source(node: Node, mount: Mount) -> str:
    """The path behind a host_path, made as a directory when it is missing."""
    try:
        source: str = await node.look("source", mount.host_path)
    except OSError as error:
        raise InvalidArgument(f"mount {mount.container_path}: host_path {mount.host_path}: {error.strerror}") from error
    if mount.propagation is not MountPropagation.PROPAGATION_PRIVATE:
        _check_propagation(mount, source)
    return source


def _check_propagation(mount: Mount, source: str) -> None:
    """Mounts travel only from or to a mount that is shared (proc_pid_mountinfo(5), optional fields)."""
    below = [words for words in _mounts() if source == words[4] or source.startswith(words[4].rstrip("/") + "/")]
    flags = max(below, key=lambda words: len(words[4]))[6:] if below else []
    shared = any(flag.startswith("shared:") for flag in flags)
    slave = any(flag.startswith("master:") for flag in flags)
    if not (shared or (slave and mount.propagation is MountPropagation.PROPAGATION_HOST_TO_CONTAINER)):
        raise FailedPrecondition(
            f"mount {mount.container_path}: {source} is on a private mount of the host, so mounts cannot propagate; "
            f"`mount --make-rshared` it"
        )


def _mounts() -> list[list[str]]:
    """The words of each mount, up to its optional fields."""
    with open("/proc/self/mountinfo") as file:
        return [line.split(" - ")[0].split() for line in file]


async def _devices(node: Node, asked: list[Device]) -> tuple[list[runtime_spec.Device], list[str]]:
    """The device nodes, a directory's all; and the access to each."""
    found: list[runtime_spec.Device] = []
    access: list[str] = []
    for device in asked:
        try:
            seen = await node.look("nodes", device.host_path)
        except OSError as error:
            raise InvalidArgument(f"device {device.host_path}: {error.strerror}") from error
        for one in seen["devices"]:
            at = (device.container_path or device.host_path) + one["path"][len(seen["path"]) :]
            found.append(cast(runtime_spec.Device, {**one, "path": at}))
            access.append(device.permissions or "rwm")
    return found, access


async def _local_seccomp(node: Node, context: LinuxContainerSecurityContext) -> runtime_spec.Seccomp | None:
    """The document of a Localhost profile: runtime-spec's linux.seccomp as a JSON file."""
    profile = security.seccomp_profile(context)
    if profile.profile_type is not ProfileType.Localhost:
        return None
    path = security.localhost(profile, "seccomp")
    try:
        document: Any = json.loads(await node.look("text", path))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise InvalidArgument(f"seccomp profile {path} does not exist on this node") from error
        raise InvalidArgument(f"seccomp profile {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgument(f"seccomp profile {path} cannot be read: {error}") from error
    if not isinstance(document, dict) or not str(document.get("defaultAction", "")).startswith("SCMP_ACT_"):
        raise InvalidArgument(f"seccomp profile {path} has no defaultAction; it must be an OCI linux.seccomp object")
    return document  # type: ignore[return-value]


async def _apparmor(node: Node, context: LinuxContainerSecurityContext) -> str:
    """The name of our own profile if the container gets it. Raises FailedPrecondition when what is asked for is not
    there, InvalidArgument when it has no name."""
    if not node.host.apparmor:
        return ""
    profile = security.apparmor_profile(context)
    if profile is None:
        return await node.apparmor.default_or_none()
    if profile.profile_type is ProfileType.RuntimeDefault:
        return await node.apparmor.default()
    name = security.apparmor(context, node.host, "")
    if name and not node.apparmor.has(name):
        raise FailedPrecondition(f"AppArmor profile {name} is not loaded on this node; load it with apparmor_parser")
    return ""


def _target(node: Node, record: Container, context: LinuxContainerSecurityContext) -> int:
    modes = context.namespace_options
    if modes is None or modes.pid is not NamespaceMode.TARGET:
        return 0
    target = node.records.container(modes.target_id)
    if target.pod != record.pod:
        raise InvalidArgument(f"namespace_options.target_id {modes.target_id} is a container of another pod")
    if target.state is not State.RUNNING:
        raise FailedPrecondition(f"namespace_options.target_id: container {target.id} is {target.state}, not running")
    return target.pid


def _pod_files(node: Node, config: ContainerConfig, pod: Sandbox) -> dict[str, str]:
    taken = {clean(mount.container_path) for mount in config.mounts}
    folder = node.pod_dir(pod.id)
    files = {destination: f"{folder}/{name}" for destination, name in POD_FILES.items()}
    own_ipc = pod_modes(pod).ipc is not NamespaceMode.NODE
    files["/dev/shm"] = f"{folder}/shm" if own_ipc else "/dev/shm"
    return {destination: path for destination, path in files.items() if destination not in taken}


async def _image_volumes(node: Node, record: Container) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Layers and reference of each image that is mounted as a volume, held under a name of its own."""
    found: dict[str, list[str]] = {}
    refs: dict[str, str] = {}
    mounts = [mount for mount in record.config.mounts if is_image(mount)]
    for name, mount in zip(volume_names(record), mounts, strict=True):
        if not mount.readonly:
            raise InvalidArgument(f"mount {mount.container_path}: an image can only be mounted readonly")
        reference = mount.image.image if mount.image else ""
        wanted = images.Prepare(container=name, image=reference, below=mount.image_sub_path)
        try:
            prepared = await node.call(images.PREPARE, wanted)
        except NotFound as error:
            raise NotFound(f"mount {mount.container_path}: {error.message}") from error
        if prepared.below != mount.image_sub_path:
            older = "the image service that answered is older and gives whole images alone; repeat"
            raise Unavailable(f"mount {mount.container_path}: {older}")
        found[mount.container_path] = prepared.lower
        # What PullImage answered: the id, not the repo digest, is what kubelet compares (KEP-5365).
        refs[mount.container_path] = prepared.image_id
    return found, refs


def encode(spec: runtime_spec.Spec) -> bytes:
    """config.json. An environment may hold bytes that are no text: they are escaped, and come out as they were."""
    try:
        return msgspec.json.encode(spec)
    except UnicodeEncodeError:
        return json.dumps(spec).encode()
