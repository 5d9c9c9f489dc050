"""Who calls CRI, and about what: told with every request that changes something (api/trace.py).

gRPC does not say which connection a request came by, but the kernel says who is at the other end of
each of our sockets (SO_PEERCRED, unix(7)): with one client it is certain, of several all are named.
"""

import os
import socket
import stat
import struct
from typing import Any

_CREDENTIALS = struct.Struct("iII")
_LONG = 120  # characters of what is told of a command line


class Callers:
    """The programs that are connected to the gateway's socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[tuple[int, int], str] = {}  # (descriptor, inode) → program; empty for none of ours

    def now(self) -> str:
        """`crictl (pid 12)`; several with ` or ` between them."""
        try:
            return self._connected()
        except OSError as error:  # no descriptor is left for the look
            return f"unknown ({error.strerror})"

    def _connected(self) -> str:
        found = {}
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            try:
                seen = os.fstat(fd)
            except OSError:  # the listing's own, or closed meanwhile
                continue
            if stat.S_ISSOCK(seen.st_mode):
                key = (fd, seen.st_ino)
                found[key] = self._known[key] if key in self._known else self._at(fd)
        self._known = found
        return " or ".join(sorted({who for who in found.values() if who}))

    def _at(self, fd: int) -> str:
        with socket.socket(fileno=os.dup(fd)) as end:
            if end.family != socket.AF_UNIX or not str(end.getsockname()).endswith(self._ending()):
                return ""
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return ""
            pid = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        try:
            with open(f"/proc/{pid}/comm") as file:
                return f"{file.read().strip()} (pid {pid})"
        except FileNotFoundError:  # gone already, or of another PID namespace
            return f"pid {pid}" if pid else ""

    def _ending(self) -> str:
        # an accepted socket has the name that its listener was bound under, before it was renamed
        return f"/.{os.path.basename(self._path)}.{os.getpid()}"


def about(request: Any) -> tuple[str, dict[str, str]]:
    """The id that a request of CRI is about, and what else identifies it."""
    told: dict[str, str] = {}
    config = getattr(request, "config", None)
    pod = getattr(request, "sandbox_config", None) or config
    for what, holder in (("name", config), ("pod_name", pod)):
        metadata = getattr(holder, "metadata", None)
        if metadata is not None:
            told[what] = metadata.name
            if getattr(metadata, "namespace", ""):
                told["namespace"] = metadata.namespace
    image = getattr(request, "image", None) or getattr(config, "image", None)
    if image is not None and image.image:
        told["image"] = image.image
    if getattr(request, "cmd", None):
        told["cmd"] = " ".join(request.cmd)[:_LONG]
    if getattr(request, "timeout", 0):
        told["timeout"] = f"{request.timeout} s"
    if getattr(request, "runtime_handler", ""):
        told["runtime_handler"] = request.runtime_handler
    if getattr(request, "pod_sandbox_id", ""):
        told["pod"] = request.pod_sandbox_id
    return id_of(request), told


def id_of(message: Any) -> str:
    """Of which container, else of which pod, a request or an answer of CRI is."""
    for field in ("container_id", "pod_sandbox_id", "image_ref"):
        id = getattr(message, field, "")
        if id:
            return str(id)
    return ""
