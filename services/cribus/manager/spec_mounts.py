"""Mounts of a container: root filesystem, the usual ones, the pod's files, the image's volumes, and
those of the configuration. Pure."""

import re

from cribus.api.cri.container import Mount as CriMount
from cribus.api.cri.security import IDMapping
from cribus.api.cri.values import MountPropagation, NamespaceMode
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager.wanted import Wanted, clean, is_image, pod_modes
from cribus.oci.runtime_spec import IdMapping, Mount

_USUAL: tuple[tuple[str, str, str, str], ...] = (
    ("/proc", "proc", "proc", "nosuid noexec nodev"),
    ("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
)
_WRITABLE_IF_PRIVILEGED = ("/sys", "/sys/fs/cgroup")
_PROPAGATION = {
    MountPropagation.PROPAGATION_PRIVATE: "rprivate",
    MountPropagation.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    MountPropagation.PROPAGATION_BIDIRECTIONAL: "rshared",
}


def mounts(wanted: Wanted) -> list[Mount]:
    """All of them, in the order in which they are to be made; a mount never hides a deeper one."""
    asked = [_asked(wanted, mount) for mount in wanted.config.mounts]
    taken = {clean(mount["destination"]) for mount in asked}
    added = [mount for mount in _pod_files(wanted) + _image_volumes(wanted) if mount["destination"] not in taken]
    hidden = "/dev" in taken
    usual = [
        mount
        for mount in _usual(wanted)
        if mount["destination"] not in taken and not (hidden and mount["destination"].startswith("/dev/"))
    ]
    deeper = sorted(asked + added, key=lambda mount: clean(mount["destination"]).count("/"))
    return [_root(wanted), *usual, *deeper]


def root_propagation(wanted: Wanted) -> str:
    """Propagation of the root, wide enough for every mount; empty for the usual private one."""
    modes = {mount.propagation for mount in wanted.config.mounts}
    if MountPropagation.PROPAGATION_BIDIRECTIONAL in modes:
        return "rshared"
    return "rslave" if MountPropagation.PROPAGATION_HOST_TO_CONTAINER in modes else ""


def _root(wanted: Wanted) -> Mount:
    prepared = wanted.prepared
    options = [f"lowerdir={':'.join(prepared.lower)}", f"upperdir={prepared.upper}", f"workdir={prepared.work}"]
    root: Mount = {"destination": "/", "type": "overlay", "source": "overlay", "options": options}
    return _mapped(root, wanted)


def _usual(wanted: Wanted) -> list[Mount]:
    found: list[Mount] = []
    for destination, kind, source, options in _USUAL:
        flags = options.split()
        if wanted.privileged and destination in _WRITABLE_IF_PRIVILEGED:
            flags[flags.index("ro")] = "rw"
        if destination == "/sys" and _foreign_network(wanted):
            # sysfs of a network namespace that the user namespace does not own cannot be mounted anew
            found.append(_bind("/sys", "/sys", ["rbind", "nosuid", "noexec", "nodev", "rro"]))
        else:
            found.append({"destination": destination, "type": kind, "source": source, "options": flags})
    return found


def _foreign_network(wanted: Wanted) -> bool:
    return "user" in wanted.pod.namespaces and pod_modes(wanted.pod).network is NamespaceMode.NODE


def _pod_files(wanted: Wanted) -> list[Mount]:
    """hosts, hostname, resolv.conf and the shared memory of the pod."""
    mode = "ro" if wanted.context.readonly_rootfs else "rw"
    found = []
    for destination, source in wanted.sources.pod_files.items():
        if destination == "/dev/shm":
            found.append(_bind(destination, source, ["rbind", "rprivate", "rw"]))
        else:
            found.append(_mapped(_bind(destination, source, ["rbind", "rprivate", mode]), wanted))
    return found


def _image_volumes(wanted: Wanted) -> list[Mount]:
    """Volumes that the image declares, each a directory that starts as the image has it."""
    found = []
    for number, destination in enumerate(wanted.image_volumes()):
        mount = _bind(destination, f"{wanted.volumes_dir}/{number}", ["rbind", "rprivate", "rw"])
        found.append(_mapped(mount, wanted))
    return found


def _asked(wanted: Wanted, mount: CriMount) -> Mount:
    if is_image(mount):
        return _image(wanted, mount)
    options = ["rbind", _PROPAGATION[mount.propagation], _access(wanted, mount), *mount.mount_options]
    source = wanted.sources.paths.get(mount.host_path, mount.host_path)
    made = _bind(mount.container_path, source, options)
    if mount.uidMappings or mount.gidMappings:
        made["options"] = [*options, "ridmap"]
        made["uidMappings"] = mappings(mount.uidMappings)
        made["gidMappings"] = mappings(mount.gidMappings)
    return made


def _access(wanted: Wanted, mount: CriMount) -> str:
    if not mount.recursive_read_only:
        return "ro" if mount.readonly else "rw"
    if not mount.readonly:
        raise InvalidArgument(f"mount {mount.container_path}: recursive_read_only needs readonly")
    if mount.propagation is not MountPropagation.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"mount {mount.container_path}: recursive_read_only needs private propagation")
    if not wanted.host.recursive_readonly:
        raise FailedPrecondition(
            f"mount {mount.container_path}: recursive_read_only needs Linux 5.12 or newer, and of an outside runtime "
            "handler that it says rro in its features; use readonly alone"
        )
    return "rro"


def _image(wanted: Wanted, mount: CriMount) -> Mount:
    """An image as a read-only volume: a bind of its one layer, or an overlay of many."""
    lower = wanted.sources.image_volumes[mount.container_path]
    if len(lower) == 1:
        options = ["rbind", "rprivate", "ro", *mount.mount_options]
        return _mapped(_bind(mount.container_path, lower[0], options), wanted)
    made: Mount = {
        "destination": mount.container_path,
        "type": "overlay",
        "source": "overlay",
        "options": ["ro", *mount.mount_options, f"lowerdir={':'.join(_escaped(path) for path in lower)}"],
    }
    return _mapped(made, wanted)


def _escaped(path: str) -> str:
    """What would end a directory or an option of overlayfs is the image's own name of one here."""
    return re.sub(r"[\\:,]", r"\\\g<0>", path)


def _bind(destination: str, source: str, options: list[str]) -> Mount:
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _mapped(mount: Mount, wanted: Wanted) -> Mount:
    """In a pod with a user namespace: the mount's files keep the owners that the container sees."""
    users = wanted.modes.userns_options
    if users is not None and users.mode is NamespaceMode.POD and users.uids:
        if mount["type"] == "bind":
            mount["options"] = [*mount["options"], "ridmap"]
        mount["uidMappings"] = mappings(users.uids)
        mount["gidMappings"] = mappings(users.gids)
    return mount


def mappings(asked: list[IDMapping]) -> list[IdMapping]:
    return [{"containerID": one.container_id, "hostID": one.host_id, "size": one.length} for one in asked]
