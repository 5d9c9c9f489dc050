"""The content store: blobs by digest, written to a partial file and renamed once their digest holds."""

import contextlib
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from cribus.errors import DataLoss, InvalidArgument, NotFound
from cribus.linux import files

CHUNK = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_logger = logging.getLogger(__name__)
_STALE = 24 * 3600.0  # seconds after which the beginning of a blob is not worth keeping


def hexadecimal(digest: str) -> str:
    """The hash itself. Raises InvalidArgument for anything but sha256:<64 hex digits>."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"{digest!r} is no digest that this store takes; it must be sha256: and 64 hex digits")
    return digest[7:]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def named(folder: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """(digest, entry) of whatever a folder has under a digest's name. What else is there is somebody
    else's (a file system's lost+found, say): told to the log and left alone."""
    for found in os.scandir(folder):
        digest = f"sha256:{found.name}"
        if _DIGEST.fullmatch(digest):
            yield digest, found
        else:
            _logger.warning("a name that is not ours is left alone", extra={"path": found.path})


class Content:
    """Blobs below one directory. Safe against being killed anywhere, and against a loss of power: a blob is
    whole or not there, for it is on the disk before it has its name."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._partial = root / "partial"
        for folder in (self._blobs, self._partial):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sizes: dict[str, int] = {}  # of every blob that is there
        for digest, found in named(self._blobs):
            if found.is_file(follow_symlinks=False):
                self.sizes[digest] = found.stat().st_size

    def clean(self, old: float = 0.0) -> None:
        """Away with temporary files older than so many seconds, and with beginnings of blobs that nobody
        came back for."""
        now = time.time()
        for found in os.scandir(self._partial):
            if found.is_dir(follow_symlinks=False):
                continue  # not ours
            allowed = _STALE if _DIGEST.fullmatch(f"sha256:{found.name}") else old
            with contextlib.suppress(FileNotFoundError):  # a worker has just completed it
                if now - found.stat().st_mtime >= allowed:
                    os.unlink(found.path)

    def path(self, digest: str) -> Path:
        return self._blobs / hexadecimal(digest)

    def partial(self, digest: str) -> Path:
        """Where a blob grows; kept over restarts so that a pull goes on where it was."""
        return self._partial / hexadecimal(digest)

    def begun(self, digest: str) -> int:
        """How many bytes of a blob an earlier try has left."""
        try:
            return self.partial(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def has(self, digest: str) -> bool:
        return digest in self.sizes

    def note(self, digest: str) -> None:
        """Look at the disk: someone else may have made this blob. Content with finding nothing."""
        try:
            self.sizes[digest] = self.path(digest).stat().st_size
        except FileNotFoundError:
            self.sizes.pop(digest, None)

    def read(self, digest: str) -> bytes:
        """A whole small blob. Raises NotFound."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in the store; pull the image again") from error

    def write(self, data: bytes, digest: str = "") -> str:
        """Store a small blob. Raises DataLoss when it is not what `digest` says."""
        real = digest_of(data)
        if digest and digest != real:
            raise DataLoss(f"content has digest {real}, not {digest} as was asked for; the registry lies or is broken")
        if not self.has(real):
            temporary = self._partial / f"{real[7:]}.{secrets.token_hex(4)}.tmp"
            try:
                temporary.write_bytes(data)
                files.sync(str(temporary))
                temporary.rename(self.path(real))
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self.sizes[real] = len(data)
        return real

    def sync(self) -> None:
        """The names of what was stored outlive a loss of power from here on."""
        files.sync(str(self._blobs))

    def chunks(self, digest: str) -> Iterator[bytes]:
        with self.path(digest).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def age(self, digest: str) -> float:
        """Seconds since a blob was completed."""
        try:
            return time.time() - self.path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0
