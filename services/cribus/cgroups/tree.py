"""What a tree of cgroups answers, whichever version the kernel has: `v1` and `v2` fill it in.

A path is a cgroup's path below each hierarchy's root, with a leading slash: the same string on
every version. Paths come from CRI's cgroup_parent or the runtime-spec's cgroupsPath.
"""

from __future__ import annotations

import os
import posixpath
import time

from cribus.cgroups import control, systemd
from cribus.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEADLINE = 10.0  # seconds within which the kernel freezes or lets go of a cgroup whose processes die


class Tree:
    """All cgroups of this node. `driver` is cgroupfs or systemd, `root` the parent of pods that name none."""

    __slots__ = ("driver", "root")
    version = 0

    def __init__(self, driver: str, root: str) -> None:
        if driver not in ("cgroupfs", "systemd"):
            raise InvalidArgument(f"cgroup driver {driver!r} is unknown: set cgroups.driver to cgroupfs or systemd")
        self.driver = driver
        self.root = root

    def pod_path(self, cgroup_parent: str, pod_id: str) -> str:
        """The cgroup of a pod below CRI's cgroup_parent (empty: the node's own).

        With the systemd driver the parent is a slice, and so is the pod: a pod without processes
        of its own can be no scope.
        """
        if self.driver == "systemd":
            parent = cgroup_parent or f"{self.root.strip('/').replace('/', '-')}.slice"
            return systemd.slice_path(systemd.below(parent, f"pod{pod_id}"))
        return _joined(cgroup_parent or self.root, pod_id)

    def container_path(self, pod_cgroup: str, container_id: str) -> str:
        """The cgroup of one of the pod's containers."""
        name = systemd.scope_name("cribus", container_id) if self.driver == "systemd" else container_id
        return _joined(pod_cgroup, name)

    def spec_path(self, cgroups_path: str, container_id: str) -> str:
        """The path of runtime-spec's linux.cgroupsPath: absolute, relative to `root`, `slice:prefix:name`
        with the systemd driver, or empty: below `root`."""
        if self.driver == "systemd":
            parts = (cgroups_path or f":cribus:{container_id}").split(":")
            if len(parts) != 3:
                raise InvalidArgument(f"cgroupsPath {cgroups_path!r} must be slice:prefix:name with the systemd driver")
            return _joined(systemd.slice_path(parts[0] or "system.slice"), systemd.scope_name(parts[1], parts[2]))
        if cgroups_path.startswith("/"):
            return _joined(cgroups_path, "")
        return _joined(self.root, cgroups_path or container_id)

    def register(self, path: str, pid: int = 0) -> None:
        """Tell systemd of a cgroup that we made: a slice, or a scope with its first process.

        Nothing to do with the cgroupfs driver. Without it systemd may take the cgroup's controllers
        away when it reloads. Raises Unavailable when systemd does not answer.
        """
        if self.driver == "systemd":
            systemd.start(path, pid, self.limits(path))

    def change(self, path: str, resources: dict[str, Any]) -> None:
        """`apply` to a registered cgroup: systemd is told too, or it would write the old limits again."""
        self.apply(path, resources)
        if self.driver == "systemd":
            systemd.tell(path, self.limits(path))

    def limits(self, path: str) -> list[systemd.Property]:
        """The limits that the cgroup has now, of those that systemd writes for a unit."""
        raise NotImplementedError

    def unregister(self, path: str) -> None:
        """Tell systemd that the cgroup's unit is over. Idempotent."""
        if self.driver == "systemd":
            systemd.stop(path)

    def create(self, path: str) -> None:
        """Make the cgroup and its parents, ready for processes and limits. Idempotent."""
        raise NotImplementedError

    def join_self_paths(self, path: str) -> list[str]:
        """The files into which a process with one thread writes "0" to be in the cgroup."""
        raise NotImplementedError

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        """Set the limits of runtime-spec's linux.resources; what is not named stays as it is.

        Raises InvalidArgument for a value the kernel refuses, Unimplemented for a limit it has not,
        FailedPrecondition when more is in use.
        """
        raise NotImplementedError

    def ignored(self, path: str, resources: dict[str, Any]) -> list[str]:
        """What of them has no effect on this host and is not refused either: a sentence each, with its name."""
        raise NotImplementedError

    def freeze(self, path: str, seconds: float = DEADLINE) -> None:
        """Stop every process of the cgroup and wait until all stand still. Raises DeadlineExceeded,
        with the cgroup thawed again."""
        raise NotImplementedError

    def thaw(self, path: str) -> None:
        """Let the processes go on. Content with a cgroup that is gone."""
        raise NotImplementedError

    def frozen(self, path: str) -> bool:
        """Whether the cgroup itself was told to freeze and has."""
        raise NotImplementedError

    def directory(self, path: str) -> str:
        """The directory in the hierarchy by which processes are counted."""
        raise NotImplementedError

    def directories(self, path: str) -> list[str]:
        """The cgroup's directories in all hierarchies in use."""
        raise NotImplementedError

    def strangers(self, path: str) -> list[str]:
        """Directories of that path that we never make, but an outside runtime may."""
        return []

    def kill(self, path: str) -> None:
        """SIGKILL to every process in the cgroup and below, also to those that fork meanwhile or are
        frozen. Does not wait for their exits. Content with a cgroup that is gone."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        return any(os.path.isdir(directory) for directory in self.directories(path))

    def pids(self, path: str) -> list[int]:
        """Every process in the cgroup and below; empty when it is gone."""
        return control.processes(self.directory(path))

    def delete(self, path: str, seconds: float = DEADLINE) -> None:
        """Remove the cgroup and all below, in every hierarchy. Idempotent; does not kill.

        Waits for exits of processes that are leaving; raises DeadlineExceeded after so long.
        """
        until = time.monotonic() + seconds
        for directory in (*self.directories(path), *self.strangers(path)):
            control.remove_tree(directory, until)
        self.unregister(path)


def _joined(parent: str, name: str) -> str:
    path = posixpath.normpath("/" + posixpath.join(parent.strip("/"), name))
    if ".." in posixpath.join(parent, name).split("/") or path == "/":
        raise InvalidArgument(f"cgroup path {parent}/{name} leaves or is the hierarchy's root: name a cgroup below it")
    return path
