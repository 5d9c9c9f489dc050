"""The content store: blobs by digest, written to a partial file and renamed once their digest holds."""

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from cribus.errors import DataLoss, InvalidArgument, NotFound

CHUNK = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def hexadecimal(digest: str) -> str:
    """The hash itself. Raises InvalidArgument for anything but sha256:<64 hex digits>."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"{digest!r} is no digest that this store takes; it must be sha256: and 64 hex digits")
    return digest[7:]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Content:
    """Blobs below one directory. Safe against being killed anywhere: a blob is whole or not there."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._partial = root / "partial"
        for folder in (self._blobs, self._partial):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self._blobs / hexadecimal(digest)

    def partial(self, digest: str) -> Path:
        """Where a blob grows; kept over restarts so that a pull goes on where it was."""
        return self._partial / hexadecimal(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        """A whole small blob. Raises NotFound."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in the store; pull the image again") from error

    def chunks(self, digest: str) -> Iterator[bytes]:
        with self.path(digest).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def write(self, data: bytes, digest: str = "") -> str:
        """Store a small blob. Raises DataLoss when it is not what `digest` says."""
        real = digest_of(data)
        if digest and digest != real:
            raise DataLoss(f"content has digest {real}, not {digest} as was asked for; the registry lies or is broken")
        if not self.has(real):
            temporary = self._partial / f"{hexadecimal(real)}.{os.getpid()}.{threading.get_ident()}"
            temporary.write_bytes(data)
            temporary.rename(self.path(real))
        return real

    def commit(self, digest: str, found: str) -> None:
        """A partial blob is whole. Raises DataLoss, and forgets it, when its digest is another."""
        if found != digest:
            self.partial(digest).unlink(missing_ok=True)
            raise DataLoss(f"content has digest {found}, not {digest}; the registry lies or is broken, pull again")
        self.partial(digest).rename(self.path(digest))

    def digests(self) -> list[str]:
        return [f"sha256:{path.name}" for path in self._blobs.iterdir()]

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes left on the store's file system."""
        return shutil.disk_usage(self._blobs).free
