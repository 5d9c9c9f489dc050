"""A container's root filesystem, mounted on the host for a runtime that finds it there."""

import os

from cribus.executor.child import steps
from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import mount, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Descriptor: the error pipe. `target`, `options` and `owner` as steps.layered has them, `users`: path of
    the pod's user namespace or "", `sources`: host paths of binds, made when they are missing, as CRI
    wants it."""
    sync = fds[0]
    try:
        for source in request["sources"]:
            if not os.path.lexists(source):
                os.makedirs(source, 0o755, exist_ok=True)
        if request["options"]:
            _mount(request)
    except Failed as failure:
        tell(sync, "error", f"{failure.code} {failure.message}")
        return 1
    except OSError as error:
        tell(sync, "error", f"{code(error)} root filesystem {request['target']}: {reason(error)}")
        return 1
    tell(sync, "ready", "")
    return 0


def _mount(request: "dict[str, Any]") -> None:
    """In a mount namespace of its own, where layers can be covered by copies with the container's owners, and
    where an old kernel mounts them first; a mount that is not attached can be carried out of there."""
    host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    work = steps.Work()
    if request["owner"]:
        work.users = os.open(request["users"], os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mount.change("/", mount.MS_SLAVE | mount.MS_REC)
    tree = steps.layered(work, request["options"], request["owner"])
    namespaces.setns(host, namespaces.CLONE_NEWNS)
    steps.attach(tree, os.open(request["target"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
