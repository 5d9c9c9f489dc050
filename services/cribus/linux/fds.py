"""Descriptors: passing them over unix sockets, sockets in directories, pipes."""

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios

from cribus.linux import libc

F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032
SPLICE_F_MOVE = 1
SPLICE_F_NONBLOCK = 2
MAX_FDS = 253  # SCM_MAX_FD
_LAST = 0xFFFFFFFF


def send(sock: socket.socket, data: bytes, fds: list[int] | tuple[int, ...] = ()) -> None:
    """Send one packet with descriptors. Raises OSError."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary)


class ScarceError(OSError):
    """A packet came, and this process has no descriptor left for what came with it; `data` is what it said."""

    def __init__(self, data: bytes) -> None:
        super().__init__(24, os.strerror(24), "recvmsg")  # EMFILE
        self.data = data


def recv(sock: socket.socket, maxfds: int = MAX_FDS, size: int = 262144, flags: int = 0) -> tuple[bytes, list[int]]:
    """One packet and its descriptors (close-on-exec); b"" when the other side closed. Raises OSError."""
    data, ancillary, told, _ = sock.recvmsg(size, socket.CMSG_LEN(maxfds * 4), socket.MSG_CMSG_CLOEXEC | flags)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % 4])
    if told & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        if len(fds) < maxfds and told & socket.MSG_CTRUNC and not told & socket.MSG_TRUNC:
            raise ScarceError(data)
        raise OSError(90, "a packet was longer than its reader allows", "recvmsg")
    return data, list(fds)


def listen_at(dirfd: int, name: str, backlog: int = 64) -> socket.socket:
    """A SEQPACKET socket that listens as `name` in a directory; one left there before is replaced by rename:
    whoever sees it is heard.

    Bound through /proc/self/fd, because a socket's path may have 107 bytes only.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        temporary = f"{name}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dirfd)
        sock.bind(f"/proc/self/fd/{dirfd}/{temporary}")
        os.chmod(temporary, 0o600, dir_fd=dirfd)
        sock.listen(backlog)
        os.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_at(dirfd: int, name: str, timeout: float | None = None) -> socket.socket:
    """A SEQPACKET socket connected to `name` in a directory. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(timeout)
        sock.connect(f"/proc/self/fd/{dirfd}/{name}")
    except BaseException:
        sock.close()
        raise
    return sock


def connect_in(folder: str, name: str) -> "socket.socket | None":
    """A connection to whoever listens as `name` in this directory; None when nobody does, or accepts."""
    try:
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return connect_at(directory, name, timeout=0)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: it does not accept
        return None
    finally:
        os.close(directory)


def splice(source: int, target: int, count: int, flags: int = SPLICE_F_NONBLOCK) -> int:
    """splice(2) between pipes: bytes moved, 0 at the end of the stream. Raises BlockingIOError."""
    return os.splice(source, target, count, flags=flags)


def tee(source: int, target: int, count: int, flags: int = SPLICE_F_NONBLOCK) -> int:
    """tee(2): bytes of pipe `source` duplicated into pipe `target` without consuming them."""
    return libc.call("tee", libc.SYS_TEE, source, target, count, flags)


def level(fd: int) -> int:
    """How many bytes wait in a pipe or terminal (FIONREAD)."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


def pipe_size(fd: int, size: int = 0) -> int:
    """A pipe's capacity in bytes, changed to at least `size` if that is given. Raises OSError."""
    if size:
        return fcntl.fcntl(fd, F_SETPIPE_SZ, size)
    return fcntl.fcntl(fd, F_GETPIPE_SZ)


def close_range(first: int, last: int = _LAST) -> None:
    """close_range(2), both ends included."""
    libc.call("close_range", libc.SYS_CLOSE_RANGE, first, last, 0)


def close_all_but(keep: list[int] | tuple[int, ...]) -> None:
    """Close every descriptor that is not in `keep`."""
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first)
