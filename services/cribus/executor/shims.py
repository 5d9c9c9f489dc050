"""The executor's side of `shim.sock` (drawn in cribus/shim/door.py), for one exec."""

import contextlib
import os

import msgpack

from cribus import errors
from cribus.executor import waiting
from cribus.executor.node import Node
from cribus.linux import fds as descriptors

_PATIENCE = 10.0  # seconds for the shim's answer


class Shim:
    """A connection to the pod's shim, about one exec."""

    def __init__(self, node: Node, pod: str, exec_id: str) -> None:
        """Raises Unavailable when there is no shim."""
        self._id = exec_id
        try:
            directory = os.open(node.pod(pod), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._sock = descriptors.connect_at(directory, "shim.sock", timeout=0)
            finally:
                os.close(directory)
        except OSError as error:
            raise errors.Unavailable(f"the shim of pod {pod} does not answer ({error.strerror}); repeat") from error

    async def descriptors(self, expected: int) -> list[int]:
        """Streams and exit pipe of the exec; the caller closes them. Raises Unavailable, Aborted."""
        try:
            descriptors.send(self._sock, msgpack.packb({"exec": self._id}))
            _, found = await waiting.receive(self._sock, expected, _PATIENCE)
        except (OSError, TimeoutError) as error:
            raise errors.Unavailable("the pod's shim gave no descriptors for the process; repeat") from error
        if len(found) != expected:
            for fd in found:
                os.close(fd)
            raise errors.Aborted(f"the pod's shim does not know exec {self._id}; it was restarted meanwhile")
        return found

    def forked(self, pid: int, pidfd: int) -> None:
        """Tell it who it is. A shim that died has no use for it; its successor gives up the exec."""
        with contextlib.suppress(OSError):
            descriptors.send(self._sock, msgpack.packb({"exec": self._id, "pid": pid}), [pidfd])

    def close(self) -> None:
        self._sock.close()
