"""Control files of a cgroup: reading, writing, and what the kernel's refusal means.

Lives below `v1` and `v2`, which know the files' names; knows no name itself. Source: the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time

from cribus.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, PermissionDenied, Unimplemented

UNLIMITED_V1 = 0x7FFFFFFFFFFFF000  # what v1 shows for "no limit", on pages of 4 KiB


def read(path: str) -> str:
    """The file's text without the last newline. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode().rstrip("\n")


def read_or(path: str, default: str) -> str:
    """The file's text, or `default` where the kernel has no such file or the cgroup is gone."""
    try:
        return read(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return default
        raise


def number(path: str, default: int = 0) -> int:
    """The file's integer; `max` and a missing file count as `default`."""
    text = read_or(path, "")
    return int(text) if text.lstrip("-").isdigit() else default


def keyed(path: str) -> dict[str, int]:
    """A flat-keyed file (`memory.stat`, `cgroup.events`) as a dictionary; empty where there is none."""
    pairs = (line.split() for line in read_or(path, "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def write(path: str, text: str) -> None:
    """Write the text by one write(2). Raises OSError whose filename is the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def write_all(writes: list[tuple[str, str]]) -> None:
    """Write each (path, text), in an order that the kernel takes.

    Limits that bound each other (memory and memory+swap, quota and burst) must be written in one
    order when raised and in the other when lowered; the wrong one is EINVAL. What was refused is
    tried again after the rest. Raises a sentence of cribus.errors when nothing more is accepted.
    """
    while writes:
        refused: list[tuple[str, str]] = []
        first: OSError | None = None
        for path, text in writes:
            try:
                write(path, text)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise explained(error, path, text) from error
                refused.append((path, text))
                first = first or error
        if first is not None and len(refused) == len(writes):
            raise explained(first, *refused[0]) from first
        writes = refused


def explained(error: OSError, path: str, text: str) -> Exception:
    """The kernel's refusal of a limit as a sentence that a client may read."""
    name, value = path.rsplit("/", 1)[1], text.strip()
    if error.errno in (errno.EINVAL, errno.ERANGE, errno.ENXIO, errno.ENODEV):
        return InvalidArgument(f"the kernel refuses {value!r} for {name}: correct the resource limits ({path})")
    if error.errno == errno.ENOENT:
        cgroup = os.path.dirname(path)
        if not os.path.isdir(cgroup):
            return FailedPrecondition(f"cgroup {cgroup} does not exist: the container is gone or was not created")
        return Unimplemented(f"this kernel has no {name}: leave the limit out or enable its controller ({path})")
    if error.errno == errno.EBUSY:
        return FailedPrecondition(f"{name} cannot be {value!r} now: more than that is in use ({path})")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(f"not permitted to write {value!r} to {path}: run as root with the cgroup writable")
    return error


def make(directory: str) -> bool:
    """Make a cgroup directory; False when it is there already."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return False
    return True


def tree_of(directory: str) -> list[str]:
    """The cgroup and all below it, children first; empty when it is gone."""
    return [folder for folder, _, _ in os.walk(directory, topdown=False)] if os.path.isdir(directory) else []


def processes(directory: str) -> list[int]:
    """Every process in the cgroup and below."""
    found: list[int] = []
    for folder in tree_of(directory):
        found += [int(word) for word in read_or(folder + "/cgroup.procs", "").split() if word != "0"]
    return found


def remove_tree(directory: str, until: float) -> None:
    """Remove the cgroup and all below; content with finding nothing.

    While processes are still leaving (EBUSY) it waits for their exits. Raises DeadlineExceeded once
    time.monotonic() passes `until`.
    """
    while True:
        try:
            for folder in tree_of(directory):
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(folder)
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
        left = until - time.monotonic()
        members = processes(directory)
        if left <= 0:
            raise DeadlineExceeded(f"cgroup {directory} still holds processes {members[:8]}: kill them, then repeat")
        wait_for_exit(members, left)


def wait_for_exit(pids: list[int], seconds: float) -> None:
    """Return when one of the processes has exited, or after so long.

    With none left to watch (the kernel is still taking a dead one out) it waits 2 ms: no event
    says when that is over.
    """
    poll = select.poll()
    fds = []
    try:
        for pid in pids[:256]:
            with contextlib.suppress(ProcessLookupError):
                fds.append(os.pidfd_open(pid))
                poll.register(fds[-1], select.POLLIN)
        poll.poll((seconds if len(fds) == len(pids[:256]) > 0 else min(seconds, 0.002)) * 1000)
    finally:
        for fd in fds:
            os.close(fd)


def signal_all(pids: list[int], number_: int) -> None:
    """Send the signal to each of these processes that still lives."""
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(fd, number_)
        except ProcessLookupError:
            continue
        finally:
            os.close(fd)
