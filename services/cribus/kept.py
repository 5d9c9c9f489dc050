"""What a pod or container is, on disk: it outlives the run directory, the KV, and every process.

A file an id below the node's root, written once and by rename when the pod is ready or the container is
made, and deleted just before its record is. It says what it was made as, not what became of it: that
tell the keeper and the kernel. So it is needed only where the records are lost, and its being there says
that it was not removed.

A file is one line of JSON, the record as the manager has it, and after it, for a container, its
runtime-spec. Not synced: what a loss of power harms is in the KV.
"""

import contextlib
import json
import os

import msgspec

from cribus.linux import files


class Kept:
    """The files of one node; `root` is its root directory."""

    def __init__(self, root: str) -> None:
        self._folder = f"{root}/kept"

    def _path(self, id: str) -> str:
        return f"{self._folder}/{id}.json"

    def put(self, id: str, record: bytes, spec: bytes = b"") -> None:
        """`record` must be JSON without line breaks. Raises OSError."""
        data = record + b"\n" + spec
        try:
            files.write_atomic(self._path(id), data, 0o600)
        except FileNotFoundError:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            files.write_atomic(self._path(id), data, 0o600)

    def drop(self, id: str) -> None:
        """Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(id))

    def has(self, id: str) -> bool:
        return os.path.exists(self._path(id))

    def ids(self) -> list[str]:
        """All of them, sorted."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def record(self, id: str) -> bytes:
        """Empty when there is none that can be read."""
        return self._read(id)[0]

    def spec(self, id: str) -> bytes:
        """The runtime-spec; empty when there is none that can be read."""
        return self._read(id)[1]

    def _read(self, id: str) -> tuple[bytes, bytes]:
        try:
            record, _, spec = files.read(self._path(id)).partition(b"\n")
        except FileNotFoundError:
            return b"", b""
        return whole(record), whole(spec)


def whole(data: bytes) -> bytes:
    """The same where it is JSON, else nothing: what was cut short or overwritten says nothing."""
    try:
        return bytes(msgspec.json.decode(data, type=msgspec.Raw))
    except msgspec.DecodeError:
        return data if _escaped(data) else b""


def _escaped(data: bytes) -> bool:
    """An environment may hold bytes that are no text, which strict readers do not take."""
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
