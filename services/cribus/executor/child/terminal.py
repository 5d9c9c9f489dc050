"""Terminals of the container's own devpts, so that `tty` in it knows their names."""

import fcntl
import os
import socket
import stat
import struct
import termios

from cribus.linux import fds as descriptors
from cribus.linux import files

PTMX = "/dev/pts/ptmx"
_TIOCGPTPEER = 0x5441
_UNLOCK = 0x40045431  # TIOCSPTLCK
_DEVICE = os.makedev(5, 2)  # a pseudo-terminal multiplexer: include/uapi/linux/major.h, TTYAUX_MAJOR


def pair(master: int, size: list[int]) -> int:
    """The other side of a fresh master, of [height, width] characters if that is given. Raises OSError."""
    fcntl.ioctl(master, _UNLOCK, struct.pack("i", 0))
    if size:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)  # not by name: that may be anything


def hand_over(link: int, master: int) -> None:
    """Give the master to whoever holds the other end of the socket `link`; close both. Raises OSError."""
    with socket.socket(fileno=link) as sock:
        descriptors.send(sock, b"console", [master])
    os.close(master)


class Host:
    """What is needed of the host to open a terminal once we are inside the container."""

    def __init__(self) -> None:
        """To be made outside. Raises OSError."""
        self._devices = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def master(self) -> int:
        """A fresh master, of the devpts of the mount namespace that we are in; the host's for a
        container that has none. What the container put in its place is not opened. Raises OSError.

        A lookup in a file system of the container's may hang: this process can be given up.
        """
        try:
            found = files.openat2(files.AT_FDCWD, PTMX, os.O_PATH, files.RESOLVE_NO_SYMLINKS)
        except OSError:
            return self._of_host()
        try:
            known = os.fstat(found)
            if stat.S_ISCHR(known.st_mode) and known.st_rdev == _DEVICE:
                return os.open(str(found), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self._own)
        except OSError:  # a device node on some other file system has no terminals
            return self._of_host()
        finally:
            os.close(found)
        return self._of_host()

    def _of_host(self) -> int:
        return os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self._devices)
