"""Which namespaces a container joins and which are its own. Pure."""

from cribus.api.cri.security import NamespaceOption, UserNamespace
from cribus.api.cri.values import NamespaceMode
from cribus.errors import InvalidArgument
from cribus.manager.wanted import Wanted, pod_modes
from cribus.oci.runtime_spec import Namespace

OF_POD = (("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("user", "user"))


def namespaces(wanted: Wanted) -> list[Namespace]:
    """The namespaces of the spec; what is not named there is the host's.

    Raises InvalidArgument when the container contradicts its pod.
    """
    check(wanted.modes, pod_modes(wanted.pod))
    pinned = wanted.pod.namespaces
    found: list[Namespace] = [{"type": kind, "path": pinned[short]} for short, kind in OF_POD if short in pinned]
    found += _pid(wanted)
    found.append({"type": "mount"})
    if wanted.host.unified and not wanted.privileged:
        found.append({"type": "cgroup"})
    return found


def for_pod(modes: NamespaceOption) -> list[str]:
    """The namespaces that a pod has of its own, as the executor names them.

    Raises InvalidArgument for a mode that a pod cannot have.
    """
    for name in ("network", "ipc"):
        if getattr(modes, name) not in (NamespaceMode.POD, NamespaceMode.NODE):
            raise InvalidArgument(f"namespace_options.{name} of a pod is POD or NODE")
    if modes.pid is NamespaceMode.TARGET:
        raise InvalidArgument("namespace_options.pid TARGET is for containers")
    found = []
    if modes.network is NamespaceMode.POD:
        found += ["net", "uts"]
    if modes.ipc is NamespaceMode.POD:
        found.append("ipc")
    if modes.pid is NamespaceMode.POD:
        found.append("pid")
    if own_users(modes):
        found.append("user")
    return found


def own_users(modes: NamespaceOption) -> UserNamespace | None:
    """The pod's user namespace, None for the host's. Raises InvalidArgument for an impossible one."""
    users = modes.userns_options
    if users is None or users.mode is NamespaceMode.NODE:
        return None
    if users.mode is not NamespaceMode.POD:
        raise InvalidArgument(f"userns_options.mode is POD or NODE, not {users.mode.name}")
    for kind, mappings in (("uids", users.uids), ("gids", users.gids)):
        if len(mappings) != 1:
            raise InvalidArgument(f"userns_options.{kind} needs exactly one mapping, not {len(mappings)}")
        if mappings[0].container_id != 0:
            raise InvalidArgument(f"userns_options.{kind} must map container id 0")
        if mappings[0].length < 1:
            raise InvalidArgument(f"userns_options.{kind}: length {mappings[0].length} maps nothing")
    return users


def check(container: NamespaceOption, pod: NamespaceOption) -> None:
    """Raises InvalidArgument when a container wants what its pod is not."""
    for name in ("network", "ipc", "pid"):
        if getattr(container, name) is NamespaceMode.NODE and getattr(pod, name) is not NamespaceMode.NODE:
            raise InvalidArgument(f"namespace_options.{name} is NODE, but the pod has a {name} namespace of its own")
    if container.pid is NamespaceMode.POD and pod.pid is NamespaceMode.CONTAINER:
        raise InvalidArgument("namespace_options.pid is POD, but the pod was made with pid CONTAINER")
    ours, theirs = own_users(container), own_users(pod)
    if ours != theirs:
        raise InvalidArgument("userns_options of the container differ from those of its pod")


def _pid(wanted: Wanted) -> list[Namespace]:
    mode = wanted.modes.pid
    if mode is NamespaceMode.CONTAINER:
        return [{"type": "pid"}]
    if mode is NamespaceMode.TARGET:
        return [{"type": "pid", "path": f"/proc/{wanted.sources.target_pid}/ns/pid"}]
    path = wanted.pod.namespaces.get("pid")
    return [{"type": "pid", "path": path}] if path else []
