"""Bringing a container back: the built-in runtime, with criu in init's place.

The keeper runs criu and takes over what it leaves, as it does for outside runtimes, so that streams, log, exit
code and all that survives a kill are as with any container. criu leaves every process stopped; what came back is
looked at (look.py), and only then may it be started, which is to let it go on.
"""

import asyncio
import os
import re
import signal
from contextlib import ExitStack
from typing import Any, NamedTuple

from cribus import errors
from cribus.executor import ending, keepers
from cribus.executor.criu import archive, arguments, dump, look, program
from cribus.executor.criu.archive import Told
from cribus.executor.node import Held, Node
from cribus.executor.plan import build
from cribus.executor.plan.build import Plan
from cribus.executor.runtimes import keep
from cribus.executor.runtimes.native import Native, resources, unset
from cribus.executor.runtimes.runtime import Known, Made
from cribus.executor.state import Record
from cribus.linux import files, process
from cribus.oci import validate

_CHILD = "cribus.executor.child.criu:restore"
_FIRST = 10  # number of the first descriptor that criu inherits


class _Task(NamedTuple):
    """What is to be brought back, and where."""

    bundle: str
    images: str
    spec: dict[str, Any]
    plan: Plan
    told: Told
    cgroup: str

    def place(self, name: str) -> str:
        return f"{self.bundle}/{name}"


class Restored(Native):
    """Runtime (runtime.py) whose containers come from a checkpoint."""

    async def create(self, node: Node, record: Record, spec: dict[str, Any], known: Known) -> Made:
        """Raises FailedPrecondition where criu does not work or what came back is more than was asked for,
        InvalidArgument for a checkpoint that is not let near it."""
        path = await program.need(node)
        dump.check(record, spec)
        validate.validate(spec)
        bundle = node.bundle(record.container)
        images = f"{record.restore}/checkpoint"
        told = await asyncio.to_thread(archive.check, images, spec)
        place = build.Place(bundle, record.cgroup, node.tree.join_self_paths(record.cgroup))
        task = _Task(bundle, images, spec, build.build(spec, place, node.host), told, record.cgroup)
        node.tree.create(record.cgroup)
        node.tree.apply(record.cgroup, resources(spec))
        ignored = [*task.plan.warnings, *unset(node, record, spec)]
        for name in ("rootfs", "pattern"):
            os.makedirs(task.place(name), exist_ok=True)
        made = await _fork(node, path, task)
        try:
            if node.tree.driver == "systemd":
                await asyncio.to_thread(node.tree.register, record.cgroup, made.pid)
            await asyncio.to_thread(look.check, look.Found(made.pid, node.tree.pids(record.cgroup)), _expected(task))
        except BaseException:
            os.close(made.held.pidfd)
            raise
        known(made.pid, made.keeper)
        return made._replace(warnings=ignored)

    async def start(self, node: Node, record: Record) -> None:
        """Let all its processes go on."""
        await keepers.held(node, record.container)
        for pid in node.tree.pids(record.cgroup):
            ending.signal(pid, process.start_time(pid), signal.SIGCONT)


async def _fork(node: Node, path: str, task: _Task) -> Made:
    with ExitStack() as stack:
        three = keep.streams(stack, stdin=keep.wants_stdin(task.spec))
        init = {"main": _CHILD, "request": _request(path, task), "flags": 0, "link": False}
        wanted = keep.Wanted({**init, "orphan": task.place("restored")}, three, [], {})
        try:
            kept = await keep.begin(node, task.bundle, wanted)
        except keep.Refused as error:
            raise errors.FailedPrecondition(f"criu cannot bring the container back: {_why(task, error)}") from error
        except TimeoutError as error:
            raise errors.DeadlineExceeded(f"criu did not bring the container back in {keep.DEADLINE:g} s") from error
        return Made(kept.pid, kept.keeper, Held(kept.pidfd, -1), [])


def _why(task: _Task, error: keep.Refused) -> str:
    try:
        return files.read(task.place("said")).decode(errors="replace")
    except FileNotFoundError:
        log = task.place("restore.log")
        return dump.told(log) if os.path.exists(log) else error.message


def _request(path: str, task: _Task) -> dict[str, Any]:
    """child/criu.py's."""
    init = task.plan.init
    root = [step for step in init["root"] if step[0] not in ("halt", "pivot")]
    bare = next(at for at, step in enumerate(root) if step[0] in ("overlay", "bind_root")) + 1
    inherit = {_FIRST + at: was for at, was in enumerate(task.told.streams)}
    what = arguments.Restore(path, task.images, task.bundle, task.place("rootfs"), task.place("restored"))
    sources = {one: task.place(f"pattern{one}") for one in task.told.outside}
    pipes = {number: was for number, was in inherit.items() if re.fullmatch(r"pipe:\[\d+\]", was)}
    return {
        "path": path,
        "argv": arguments.restore(what, sources, pipes),
        "env": dict(os.environ),
        "join": init["join"],
        "bare": root[:bare],
        "mounts": root[bare:],
        "readonly": bool((task.spec.get("root") or {}).get("readonly")),
        "no_new_privs": init["process"]["no_new_privs"],
        "mask": [step for step in init["finish"] if step[0] in ("seal", "mask")],
        "inherit": list(inherit),
        "pattern": task.place("pattern"),
        "expected": task.place("expected"),
        "said": task.place("said"),
    }


def _expected(task: _Task) -> look.Expected:
    return look.Expected(
        mountinfo=files.read(task.place("expected")).decode(),
        pattern=task.place("pattern"),
        spec=task.spec,
        process=task.plan.init["process"],
        outside=task.told.outside,
        cgroup=task.cgroup,
    )
