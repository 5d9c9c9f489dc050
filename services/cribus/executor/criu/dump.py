"""Writing a container down. criu is never ended by us: it works inside the container's processes, which would not
survive that. It has a fifo open as long as it runs, by which every later executor knows of it."""

import json
import os
import shutil
from contextlib import ExitStack
from typing import Any

from cribus.errors import DeadlineExceeded, FailedPrecondition
from cribus.executor import keepers, waiting
from cribus.executor.child import failure
from cribus.executor.criu import arguments, program
from cribus.executor.node import Node
from cribus.executor.plan.build import KINDS, namespaces_of
from cribus.executor.state import Record
from cribus.linux import files

DESCRIPTORS = "descriptors.json"  # what the standard streams were, beside the images, as runc writes it
_CHILD = "cribus.executor.child.criu:dump"
_AT_WORK = "criu"  # the fifo
_PATIENCE = 600.0  # seconds; a container's memory has to be written
_SHARED = ("network", "ipc", "uts")


async def dump(node: Node, record: Record, spec: dict[str, Any], folder: str) -> None:
    """Into `folder`. Raises FailedPrecondition for what criu cannot write down, in its own words."""
    path = await program.need(node)
    check(record, spec)
    bundle = node.bundle(record.container)
    images = f"{folder}/checkpoint"
    shutil.rmtree(images, ignore_errors=True)  # of one that was killed
    os.mkdir(images, 0o700)
    links = [os.readlink(f"/proc/{record.pid}/fd/{number}") for number in range(3)]
    files.write_atomic(f"{images}/{DESCRIPTORS}", json.dumps(links).encode(), 0o600)
    mountinfo = files.read(f"/proc/{record.pid}/mountinfo").decode()
    what = arguments.Dump(path, record.pid, folder, freezer(node, record.cgroup))
    request = {
        "path": path,
        "argv": arguments.dump(what, arguments.external(mountinfo, spec)),
        "env": dict(os.environ),
        "join": joins(spec),
    }
    if not await _run(node, bundle, request):
        raise FailedPrecondition(f"criu cannot write down container {record.container}: {told(f'{folder}/dump.log')}")


def check(record: Record, spec: dict[str, Any]) -> None:
    """Raises FailedPrecondition for what we do not even try."""
    wanted = namespaces_of(spec)
    why = ""
    if record.runtime:
        why = f"it is run by {record.runtime[0]}"
    elif (spec.get("process") or {}).get("terminal"):
        why = "it has a terminal, whose other side is outside of it"
    elif wanted.get("pid", "x"):
        why = "it shares its process namespace with others"
    elif "user" in wanted:
        why = "its pod has a user namespace, which its containers share"
    elif "time" in wanted:
        why = "it has a time namespace"
    elif (spec.get("process") or {}).get("selinuxLabel"):
        why = "it has a label of SELinux"
    if why:
        raise FailedPrecondition(f"container {record.container} cannot be checkpointed: {why}")


def joins(spec: dict[str, Any]) -> list[list[Any]]:
    """The pod's namespaces, which criu works in: [path, kind] each. Not the container's of cgroups: from inside it
    the freezer may not be used."""
    wanted = namespaces_of(spec)
    return [[wanted[kind], KINDS[kind]] for kind in _SHARED if wanted.get(kind)]


def freezer(node: Node, cgroup: str) -> str:
    """The directory whose file freezes a cgroup."""
    found = node.tree.directories(cgroup)
    return next((one for one in found if os.path.exists(f"{one}/freezer.state")), found[0])


async def over(bundle: str) -> None:
    """Until no criu is at work on the container any more. Raises DeadlineExceeded."""
    if not await keepers.gone(bundle, _PATIENCE, _AT_WORK):
        raise DeadlineExceeded("a checkpoint of this container is still being written; its disk may be sick")


async def _run(node: Node, bundle: str, request: dict[str, Any]) -> bool:
    """Whether it succeeded. Raises DeadlineExceeded; it is at work then all the same."""
    at_work = keepers.claim(bundle, _AT_WORK)
    read, write = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, read)
        try:
            child = await node.server.run(_CHILD, request, [write, at_work])
        finally:
            os.close(write)
            os.close(at_work)
        os.close(child.pidfd)
        try:
            said = await waiting.text(read, _PATIENCE)
        except TimeoutError as error:
            raise DeadlineExceeded(f"criu does not end within {_PATIENCE:g} s; the disk may be sick") from error
    return failure.read(said)[2]


def told(log: str) -> str:
    """What criu's log says went wrong."""
    try:
        found = program.errors(files.read(log).decode(errors="replace"))
    except FileNotFoundError:
        found = []
    telling = [one for one in found if "RLIMIT_NOFILE" not in one]  # which it can do without
    return "; ".join(telling[:3]) or "it wrote no reason"
