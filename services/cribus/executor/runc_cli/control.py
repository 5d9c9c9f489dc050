"""kill, delete, pause, resume, update and ps."""

import contextlib
import json
import os
import select
import signal
import sys
import time

from cribus import errors
from cribus.executor.plan import fields
from cribus.executor.runc_cli import hosthooks, log
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line
from cribus.linux import process
from cribus.oci.runtime_spec import Resources

_DEADLINE = 10.0  # seconds for the killed to end


def kill(box: Box, words: list[str], *, everyone: bool) -> int:
    """A signal by name or number. Raises FailedPrecondition for one that has ended."""
    number = _number(words[0] if words else "TERM")
    status = box.status()
    if everyone:
        _kill_all(box, number)
        return 0
    if status not in ("created", "running", "paused"):
        raise errors.FailedPrecondition("container not running")
    _signal(box, number)
    if number == signal.SIGKILL and status == "paused":
        box.tree().thaw(box.known()["cgroup"])
    return 0


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    name = word.upper()
    try:
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError as error:
        raise errors.InvalidArgument(f"unknown signal {word!r}") from error


def _signal(box: Box, number: int) -> None:
    known = box.known()
    if not known["pid"]:
        return
    with contextlib.suppress(ProcessLookupError):
        pidfd = process.pidfd_open(known["pid"])
        try:
            if process.start_time(known["pid"]) == known["started"]:
                process.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _kill_all(box: Box, number: int) -> None:
    cgroup = box.known()["cgroup"]
    if number == signal.SIGKILL:
        box.tree().kill(cgroup)
        return
    for pid in box.tree().pids(cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def delete(box: Box, *, force: bool) -> int:
    """With all that is left of it. Raises NotFound unless forced, FailedPrecondition for one that runs."""
    try:
        status = box.status()
    except errors.NotFound:
        if force:
            return 0
        raise
    if status not in ("stopped", "created") and not force:
        raise errors.FailedPrecondition(f"cannot delete container {box.id} that is not stopped: {status}")
    destroy(box)
    return 0


def end(box: Box) -> None:
    """SIGKILL to all of it, and wait. Raises DeadlineExceeded."""
    known, tree = box.known(), box.tree()
    until = time.monotonic() + _DEADLINE
    _signal(box, signal.SIGKILL)
    while pids := set(tree.pids(known["cgroup"])) | _alive(known["pid"], known["started"]):
        tree.kill(known["cgroup"])
        for pid in pids:
            _died(pid, until)


def _alive(pid: int, started: int) -> set[int]:
    return {pid} if pid and process.is_running(pid, started) else set()


def _died(pid: int, until: float) -> None:
    try:
        pidfd = process.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([pidfd], [], [], max(0.0, until - time.monotonic()))[0]:
            raise errors.DeadlineExceeded(f"process {pid} was killed but does not end; it hangs in the kernel")
    finally:
        os.close(pidfd)


def destroy(box: Box) -> None:
    """The one teardown."""
    end(box)
    box.tree().delete(box.known()["cgroup"])
    hosthooks.run_all(box, ("poststop",), "stopped")
    box.remove()


def pause(box: Box) -> int:
    _running(box)
    box.tree().freeze(box.known()["cgroup"])
    return 0


def resume(box: Box) -> int:
    if box.status() != "paused":
        raise errors.FailedPrecondition("container not paused")
    box.tree().thaw(box.known()["cgroup"])
    return 0


def _running(box: Box) -> None:
    status = box.status()
    if status not in ("created", "running"):
        raise errors.FailedPrecondition(f"container not running: it is {status}")


_MEMORY = {"memory": "limit", "memory-swap": "swap", "memory-reservation": "reservation"}
_CPU = {"cpu-period": "period", "cpu-quota": "quota", "cpu-share": "shares", "cpu-burst": "burst", "cpu-idle": "idle"}
_CPUSET = {"cpuset-cpus": "cpus", "cpuset-mems": "mems"}


def update(box: Box, line: Line) -> int:
    """Limits from a document of runtime-spec's linux.resources, or one by one."""
    if box.status() == "stopped":
        raise errors.FailedPrecondition("container not running")
    where = line.given.get("resources")
    if where:
        with contextlib.ExitStack() as stack:
            file = sys.stdin if where == "-" else stack.enter_context(open(where, encoding="utf-8"))
            asked = json.load(file)
    else:
        asked = {
            "memory": {key: int(line.given[name]) for name, key in _MEMORY.items() if name in line.given},
            "cpu": {key: int(line.given[name]) for name, key in _CPU.items() if name in line.given}
            | {key: line.given[name] for name, key in _CPUSET.items() if name in line.given},
        }
        if "pids-limit" in line.given:
            asked["pids"] = {"limit": int(line.given["pids-limit"])}
        if "blkio-weight" in line.given:
            asked["blockIO"] = {"weight": int(line.given["blkio-weight"])}
    cgroup = box.known()["cgroup"]
    unknown = fields.unknown(asked, Resources, "linux.resources")
    log.warn(line.general, [*unknown, *box.tree().ignored(cgroup, asked)])
    box.tree().change(cgroup, asked)
    return 0


def ps(box: Box, line: Line) -> int:
    """The pids, or what ps(1) says of them."""
    pids = box.tree().pids(box.known()["cgroup"])
    if line.given.get("format", "table") == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
        return 0
    words = line.args[1:] or ["-f"]
    return os.spawnvp(os.P_WAIT, "ps", ["ps", *words, "-p", ",".join(map(str, pids)) or "0"])
