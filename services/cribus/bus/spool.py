"""Events that the stream does not have yet, in a file: they outlive the process that has them to tell.

Appended before an event counts as told, emptied when the stream has acknowledged all. What a killed
process left is sent by the next one of its service; the stream drops what it has already. Not synced:
it is for a process that dies, not for a host.
"""

import fcntl
import logging
import os
import struct

_LENGTH = struct.Struct("<I")
_logger = logging.getLogger(__name__)


class Spool:
    """One service's file. It belongs to the first process that opens it; for any other it holds nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._asked = False

    def left(self) -> list[bytes]:
        """What an earlier process did not get rid of, oldest first."""
        if not os.path.exists(self._path) or not self._open():
            return []
        with open(self._path, "rb") as file:
            data = file.read()
        found, at = [], 0
        while at + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            entry = data[at + _LENGTH.size : at + _LENGTH.size + length]
            if len(entry) < length:  # it was killed, or the disk was full, in the middle
                break
            found.append(entry)
            at += _LENGTH.size + length
        return found

    def add(self, entry: bytes) -> None:
        """Never fails: without room for it an event still is told by this process, if it lives."""
        if not self._open():
            return
        try:
            os.write(self._fd, _LENGTH.pack(len(entry)) + entry)
        except OSError as error:
            _logger.error("an event waits in memory only", extra={"path": self._path, "cause": str(error)})

    def clear(self) -> None:
        """Everything is told."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        if not self._asked:
            self._asked = True
            try:
                self._fd = self._locked()
            except OSError as error:
                _logger.warning("events wait in memory only", extra={"path": self._path, "cause": str(error)})
        return self._fd >= 0

    def _locked(self) -> int:
        """Raises OSError, BlockingIOError where another process of the service has it."""
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return fd
