"""What hangs, by the kernel's own account: threads that stay in one place between two looks.

    python -m cribus.cli.story.kernel PID…     looks at these processes and all below them

It prints a JSON line a thread, and runs as a process of its own, because a look at a process that
hangs can hang too (its memory map may be locked). Source: proc_pid_syscall(5), proc_pid_stat(5).
"""

import ctypes
import functools
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

APART = 0.3  # seconds between the two looks
OLD = 1.0  # seconds of life after which a program that somebody waits for counts as hanging
_ON_PATH = {
    **dict.fromkeys(("open", "stat", "lstat", "access", "statfs", "mkdir", "rmdir", "unlink", "readlink"), 0),
    **dict.fromkeys(("chdir", "chown", "chmod", "umount2", "rename", "getxattr", "lgetxattr", "execve", "truncate"), 0),
    **dict.fromkeys(("newfstatat", "openat", "statx", "mkdirat", "faccessat", "faccessat2", "openat2", "unlinkat"), 1),
    **dict.fromkeys(("readlinkat", "fchownat", "open_tree", "execveat", "mount", "move_mount", "name_to_handle_at"), 1),
}
_ON_DESCRIPTOR = ("fsync", "fdatasync", "ftruncate", "getdents64", "fstat", "fstatfs", "read", "write", "pread64")
_SLOW = {*_ON_PATH, "fsync", "fdatasync", "getdents64", "fstat", "fstatfs", "sync", "syncfs"}
_LONGEST = 256  # bytes of a path that are read


class _Place(NamedTuple):
    """Where a thread is."""

    state: str
    syscall: str  # the whole line


def threads(pids: list[int]) -> dict[tuple[int, int], _Place]:
    """Every thread of these processes, (pid, thread) → where it is."""
    found = {}
    for pid in pids:
        for thread in _listed(f"/proc/{pid}/task"):
            base = f"/proc/{pid}/task/{thread}"
            stat = _read(f"{base}/stat").rpartition(")")[2].split()
            if stat:
                found[pid, int(thread)] = _Place(stat[0], _read(f"{base}/syscall").strip())
    return found


def below(roots: list[int]) -> list[int]:
    """These processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for name in _listed("/proc"):
        if name.isdecimal():
            fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def hangs(roots: list[int]) -> Iterator[dict[str, Any]]:
    """What stays where it is, as `facts.Hang` has it; the paths they are about last, as these may hang us."""
    pids = below(roots)
    first = threads(pids)
    select.select([], [], [], APART)
    second = threads(pids)
    for (pid, thread), place in second.items():
        if first.get((pid, thread)) == place and _stuck(pid, place, own=pid in roots):
            yield _told(pid, thread, place)


def _stuck(pid: int, place: _Place, *, own: bool) -> bool:
    if place.state in ("D", "T", "t"):
        return True
    if not own and not _contained(pid) and _foreign(pid) and _age(pid) > OLD:
        return True  # a program that a service started and waits for
    return place.state == "S" and _call(place) in _SLOW


def _told(pid: int, thread: int, place: _Place) -> dict[str, Any]:
    call, on = _call(place), ""
    words = place.syscall.split()
    if call in _ON_PATH:
        on = _path(pid, int(words[1 + _ON_PATH[call]], 16))
    elif call in _ON_DESCRIPTOR:
        on = _link(f"/proc/{pid}/fd/{int(words[1], 16)}")
    return {
        "pid": pid,
        "thread": thread,
        "program": _program(pid),
        "state": place.state,
        "call": call,
        "on": on,
        "kernel": _read(f"/proc/{pid}/task/{thread}/wchan").strip("0\n"),
        "since": int((time.time() - _age(pid)) * 1e9) if _foreign(pid) else 0,
        "owner": _owner(pid),
    }


def _call(place: _Place) -> str:
    """The name of the system call that a thread is in."""
    word = place.syscall.split(maxsplit=1)[:1]
    return _name(int(word[0])) if word and word[0].isdecimal() else ""


@functools.cache
def _name(number: int) -> str:
    """By libseccomp, which knows them for each machine."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return str(number)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    known = library.seccomp_syscall_resolve_num_arch(library.seccomp_arch_native(), number)
    return known.decode() if known else str(number)


def _program(pid: int) -> str:
    words = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return words[:120] or _read(f"/proc/{pid}/comm").strip()


def _foreign(pid: int) -> bool:
    """Whether it runs a program that is not this interpreter: a plugin, a hook."""
    return os.path.realpath(_link(f"/proc/{pid}/exe")) != os.path.realpath(sys.executable)


def _contained(pid: int) -> bool:
    return _link(f"/proc/{pid}/ns/mnt") != _link("/proc/self/ns/mnt")


def _owner(pid: int) -> str:
    """The container whose cgroup it is in, or the pod that a CNI plugin works for."""
    for line in _read(f"/proc/{pid}/environ").split("\0"):
        if line.startswith("CNI_CONTAINERID="):
            return line.partition("=")[2]
    for part in _read(f"/proc/{pid}/cgroup").replace("\n", "/").split("/"):
        id = part.removesuffix(".scope").rpartition("-")[2]
        if len(id) == 64 and _contained(pid):
            return id
    return ""


def _age(pid: int) -> float:
    """Seconds since it was started."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK") if fields else 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _path(pid: int, address: int) -> str:
    """The text that a process has there."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(_LONGEST).split(b"\0")[0].decode(errors="replace")
    except (OSError, OverflowError, ValueError):
        return ""


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:  # it ended meanwhile
        return []


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


if __name__ == "__main__":
    for found in hangs([int(word) for word in sys.argv[1:]]):
        print(json.dumps(found), flush=True)
