"""A pod's namespaces, shared memory and cgroup."""

import asyncio
import contextlib
import json
import os
from typing import Any

from cribus import errors
from cribus.api.executor import CreatePod, DeletePod, PodCreated
from cribus.api.verb import Empty
from cribus.executor import children, ending
from cribus.executor.node import Node
from cribus.executor.plan import idmap, sysctls
from cribus.linux import files, mount, namespaces
from cribus.steps import Step

_FILE = "pod.json"
_TRIES = 3  # children for one pod, where they are killed
_KINDS = {
    "net": namespaces.CLONE_NEWNET,
    "ipc": namespaces.CLONE_NEWIPC,
    "uts": namespaces.CLONE_NEWUTS,
    "pid": namespaces.CLONE_NEWPID,
    "user": namespaces.CLONE_NEWUSER,
}
_FOLDERS = Step("executor.create-pod.folders")
_INTENT = Step("executor.create-pod.intent")
_CGROUP = Step("executor.create-pod.cgroup")
_FORKED = Step("executor.create-pod.forked")
_PINNED = Step("executor.create-pod.pinned")
_READY = Step("executor.create-pod.ready")
_EMPTIED = Step("executor.delete-pod.emptied")
_NO_CGROUP = Step("executor.delete-pod.cgroup")
_UNPINNED = Step("executor.delete-pod.unpinned")
_REMOVED = Step("executor.delete-pod.removed")


async def create(node: Node, request: CreatePod) -> PodCreated:
    """Make and pin; a repeat answers the same, and makes what is half made anew."""
    async with node.alone(request.pod):
        pins = _pins(node, request)
        cgroup = node.tree.pod_path(request.cgroup_parent, request.pod)
        before = _load(node, request.pod)
        if before.get("ready") and before["cgroup"] == cgroup and before["pins"] == pins:
            return PodCreated(namespaces=pins, cgroup=cgroup, pid=before["pid"])
        if before:
            await _unmake(node, request.pod, before["cgroup"])
        with _FOLDERS.of(request.pod):
            os.makedirs(f"{node.pod(request.pod)}/ns", exist_ok=True)
            os.makedirs(f"{node.pod(request.pod)}/shm", exist_ok=True)
        record = {"cgroup": cgroup, "pins": pins, "pid": 0, "ready": False}
        with _INTENT.of(request.pod):
            _save(node, request.pod, record)
        with _CGROUP.of(request.pod):
            node.tree.create(cgroup)
        if node.tree.driver == "systemd":
            await asyncio.to_thread(node.tree.register, cgroup)
        with _PINNED.of(request.pod):
            pid = await _pinned(node, request, record)
        with _READY.of(request.pod):
            _save(node, request.pod, {**record, "pid": pid, "ready": True})
        return PodCreated(namespaces=pins, cgroup=cgroup, pid=pid)


async def delete(node: Node, request: DeletePod) -> Empty:
    """Kill what is left, unpin, remove. Idempotent."""
    async with node.alone(request.pod):
        await _unmake(node, request.pod, _load(node, request.pod).get("cgroup") or _path(node, request))
        with _REMOVED.of(request.pod):
            node.remove(node.pod(request.pod))
    return Empty()


def _path(node: Node, request: DeletePod) -> str:
    """Where the pod's cgroup is; empty for a parent that no pod can have had."""
    try:
        return node.tree.pod_path(request.cgroup_parent, request.pod)
    except errors.InvalidArgument:
        return ""


def _pins(node: Node, request: CreatePod) -> dict[str, str]:
    for kind in request.namespaces:
        if kind not in _KINDS:
            raise errors.InvalidArgument(f"namespace {kind!r} of a pod is unknown; use one of {', '.join(_KINDS)}")
    return {kind: f"{node.pod(request.pod)}/ns/{kind}" for kind in request.namespaces}


def _load(node: Node, pod: str) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, Any] = json.loads(files.read(f"{node.pod(pod)}/{_FILE}"))
        return found
    return {}


def _save(node: Node, pod: str, record: dict[str, Any]) -> None:
    files.write_atomic(f"{node.pod(pod)}/{_FILE}", json.dumps(record).encode())


async def _pinned(node: Node, request: CreatePod, record: dict[str, Any]) -> int:
    """A child that is killed has a successor, which begins anew."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(errors.Aborted):
            return await _fork(node, request, record)
        await ending.empty_cgroup(node, record["cgroup"])
        await asyncio.to_thread(_unpin, node.pod(request.pod))
        os.makedirs(f"{node.pod(request.pod)}/ns", exist_ok=True)
    return await _fork(node, request, record)


async def _fork(node: Node, request: CreatePod, record: dict[str, Any]) -> int:
    """Run the child that pins; pid of the PID namespace's init or 0."""
    pause = node.tree.container_path(record["cgroup"], "pause")
    if "pid" in request.namespaces:
        node.tree.create(pause)
    users = "user" in request.namespaces
    directory = node.pod(request.pod)
    what = {
        "directory": f"{directory}/ns",
        "shm": f"{directory}/shm",
        "shm_size": request.shm_size,
        "owner": [request.uids[0].host, request.gids[0].host] if users and request.uids and request.gids else [0, 0],
        "flags": sum(_KINDS[kind] for kind in request.namespaces),
        "pins": record["pins"],
        "hostname": request.hostname if "uts" in request.namespaces else "",
        "sysctls": [[name, sysctls.path(name), value] for name, value in request.sysctls.items()],
        "maps": [idmap.text(request.uids), idmap.text(request.gids)] if users else [],
        "cgroups": node.tree.join_self_paths(pause),
    }
    with _FORKED.of(request.pod):
        child = await children.begin(node.pods.run, what)
    return int(await child.ready("the pod's namespaces were"))


async def _unmake(node: Node, pod: str, cgroup: str) -> None:
    """Everything but the run directory's plain files."""
    if cgroup:
        with _EMPTIED.of(pod):
            await ending.empty_cgroup(node, cgroup)
        with _NO_CGROUP.of(pod):
            await asyncio.to_thread(node.tree.delete, cgroup)
    with _UNPINNED.of(pod):
        await asyncio.to_thread(_unpin, node.pod(pod))


def _unpin(directory: str) -> None:
    """Away with the pod's mounts: the pins go with the directory that they are mounted in, at once,
    because every umount waits for the kernel's readers."""
    for name in ("ns", "shm"):
        with contextlib.suppress(FileNotFoundError):
            while mount.detach(f"{directory}/{name}"):
                pass  # a repeat after a crash may have mounted it twice
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"{directory}/ns"):
            os.unlink(f"{directory}/ns/{name}")
