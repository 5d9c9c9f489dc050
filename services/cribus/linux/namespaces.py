"""Namespaces, and the clone that makes them."""

import contextlib
import ctypes
import os
import signal
import struct
from collections.abc import Iterator

from cribus.linux import libc

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_INTO_CGROUP = 0x200000000


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    libc.call("unshare", libc.SYS_UNSHARE, flags)


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): `fd` of a namespace, or a pidfd with the kinds to join as flags. Raises OSError."""
    libc.call("setns", libc.SYS_SETNS, fd, flags)


def own_clock(offsets: str) -> None:
    """A time namespace for this process, by lines "monotonic|boottime SECONDS NANOSECONDS": see
    time_namespaces(7). Only for a process with one thread. Raises OSError."""
    unshare(CLONE_NEWTIME)
    if offsets:
        fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, offsets.encode())
        finally:
            os.close(fd)
    fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWTIME)
    finally:
        os.close(fd)


def clone3(flags: int = 0, *, cgroup: int = -1) -> tuple[int, int]:
    """clone3(2) without Python's at-fork hooks: (pid, pidfd) in the parent, (0, -1) in the child.

    Only for a process with one thread. With `cgroup`, a descriptor of a cgroup v2, the child is born
    in it. The pidfd is close-on-exec. Raises OSError.
    """
    pidfd = ctypes.c_int(-1)
    all_flags = flags | CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup >= 0 else 0)
    arguments = struct.pack(
        "11Q", all_flags, ctypes.addressof(pidfd), 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, max(cgroup, 0)
    )
    pid = libc.call("clone3", libc.SYS_CLONE3, arguments, len(arguments))
    return pid, pidfd.value if pid else -1


@contextlib.contextmanager
def kept(flags: int) -> Iterator[tuple[int, int]]:
    """New namespaces of these kinds, in a child that lives as long as inside and does nothing: its pid and pidfd.

    Only for a process with one thread. Raises OSError.
    """
    end, held = os.pipe()
    pid, pidfd = clone3(flags)
    if pid == 0:
        try:
            os.close(held)
            os.read(end, 1)
        finally:
            os._exit(0)
    os.close(end)
    try:
        yield pid, pidfd
    finally:
        os.close(held)
        os.waitpid(pid, 0)
        os.close(pidfd)
