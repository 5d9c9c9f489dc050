"""A file system that never answers: FUSE whose program takes every request and replies to none but the first, as
a file server does that died while the kernel waits for it. Who waits for it cannot be killed until `revive`."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cribus.linux import mount

_CONNECTIONS = Path("/sys/fs/fuse/connections")
_IN, _OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")  # fuse_in_header, fuse_out_header of linux/fuse.h
_INIT = 26
_INIT_OUT = struct.Struct("=IIIIHHIIHH32x")


class Silent:
    """Mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = threading.Event()  # somebody waits for an answer
        self.requests = 0
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        mount.mount("silent", str(path), "fuse", (mount.MS_NOSUID | mount.MS_NODEV, options))
        self._program = threading.Thread(target=self._serve, daemon=True)
        self._program.start()

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 18)
            except OSError:  # ENODEV: revived or unmounted
                return
            _, kind, unique, *_ = _IN.unpack_from(request)
            if kind == _INIT:
                body = _INIT_OUT.pack(7, 31, 0, 0, 0, 0, 1 << 16, 1, 0, 0)
                os.write(self._device, _OUT.pack(_OUT.size + len(body), 0, unique) + body)
            else:
                self.requests += 1
                self.asked.set()

    def revive(self) -> None:
        """Let everybody who waits go, with an error."""
        device = next(line.split()[2] for line in _mountinfo() if line.split()[4] == str(self.path))
        with _control():
            (_CONNECTIONS / device.split(":")[1] / "abort").write_text("1")
        self._program.join()

    def unmount(self) -> None:
        if any(line.split()[4] == str(self.path) for line in _mountinfo()):
            self.revive()
            mount.umount(str(self.path))
        os.close(self._device)


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


@contextmanager
def _control() -> Iterator[None]:
    """The kernel's own file system for this, mounted for as long as it takes where it is not."""
    if any(_CONNECTIONS.iterdir()):
        yield
        return
    mount.mount("fusectl", str(_CONNECTIONS), "fusectl", (0, ""))
    try:
        yield
    finally:
        mount.umount(str(_CONNECTIONS))


@contextmanager
def silent(path: Path) -> Iterator[Silent]:
    path.mkdir(exist_ok=True)
    one = Silent(path)
    try:
        yield one
    finally:
        one.unmount()
