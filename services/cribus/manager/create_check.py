"""Is a container's configuration one that can be? Pure, before anything is done."""

from cribus.api.cri.container import ContainerConfig, ContainerMetadata, LinuxContainerConfig, Mount
from cribus.api.cri.sandbox import LinuxPodSandboxConfig
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.errors import InvalidArgument
from cribus.manager import security, signals, spec_namespaces
from cribus.manager.cdi import edits, specs
from cribus.manager.records import Sandbox
from cribus.manager.wanted import clean, is_image, pod_modes

_ATTRIBUTES = ["suid", "dev", "exec", "atime", "diratime", "relatime", "strictatime", "symfollow"]
# What CRI has fields of its own for, like readonly, cannot be said this way too.
MOUNT_OPTIONS = {f"{no}{name}" for no in ("", "no") for name in _ATTRIBUTES}
_OPTIONS = ", ".join(sorted(MOUNT_OPTIONS))


def check(config: ContainerConfig) -> ContainerMetadata:
    """The container's metadata. Raises InvalidArgument with the first thing that is wrong."""
    if config.metadata is None or not config.metadata.name:
        raise InvalidArgument("the container's config has no metadata.name; name and attempt identify a container")
    if config.image is None or not config.image.image:
        raise InvalidArgument("the container's config has no image; give image.image")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(f"working_dir {config.working_dir!r} is not an absolute path")
    _check_log(config)
    signals.name(config.stop_signal, "")
    for entry in config.envs:
        if not entry.key or "=" in entry.key or "\0" in entry.key or b"\0" in entry.value:
            raise InvalidArgument(f"envs: {entry.key!r} cannot be the name of a variable, or its value has a null byte")
    _check_mounts(config.mounts)
    for device in config.devices:
        if not device.host_path.startswith("/") or set(device.permissions) - set("rwm"):
            raise InvalidArgument(f"device {device.host_path!r} needs an absolute host_path and permissions of r, w, m")
    for name in edits.asked(config):
        specs.named(name)
    if config.stdin_once and not config.stdin:
        raise InvalidArgument("stdin_once without stdin: set stdin too")
    security.seccomp_profile(_context(config))
    return config.metadata


def check_against_pod(config: ContainerConfig, pod: Sandbox) -> None:
    """Raises InvalidArgument when the container wants what its pod is not."""
    context = _context(config)
    if context.privileged and not _privileged(pod):
        raise InvalidArgument(f"the container is privileged, and pod {pod.id} is not; make the pod so too")
    if context.namespace_options is not None:
        spec_namespaces.check(context.namespace_options, pod_modes(pod))


def _privileged(pod: Sandbox) -> bool:
    linux = pod.config.linux or LinuxPodSandboxConfig()
    return linux.security_context is not None and linux.security_context.privileged


def _context(config: ContainerConfig) -> LinuxContainerSecurityContext:
    return (config.linux or LinuxContainerConfig()).security_context or LinuxContainerSecurityContext()


def _check_log(config: ContainerConfig) -> None:
    if config.log_path.startswith("/") or ".." in config.log_path.split("/"):
        raise InvalidArgument(f"log_path {config.log_path!r} must be relative, below the pod's log_directory")


def _check_mounts(mounts: list[Mount]) -> None:
    seen: set[str] = set()
    for mount in mounts:
        where = clean(mount.container_path)
        if not mount.container_path.startswith("/") or where == "/":
            raise InvalidArgument(f"mount {mount.container_path!r}: container_path must be absolute, and not the root")
        if where in seen:
            raise InvalidArgument(f"two mounts have the container_path {where}")
        seen.add(where)
        if strange := set(mount.mount_options) - MOUNT_OPTIONS:
            raise InvalidArgument(f"mount {where}: mount_options {sorted(strange)}: only {_OPTIONS} are known")
        if is_image(mount):
            if mount.host_path:
                raise InvalidArgument(f"mount {where} has both host_path and image; give one")
            if mount.image_sub_path.startswith("/") or ".." in mount.image_sub_path.split("/"):
                raise InvalidArgument(f"mount {where}: image_sub_path {mount.image_sub_path!r} must stay in the image")
        elif not mount.host_path.startswith("/"):
            raise InvalidArgument(f"mount {where}: host_path {mount.host_path!r} is not an absolute path")
