"""The files of an archive, in a folder or in a tar file, compressed or not; readable by many threads."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cribus.errors import InvalidArgument, NotFound
from cribus.images.content import CHUNK
from cribus.images.inflate import inflate, kind

_SMALL = 8 << 20  # bytes of a JSON file


class _Piece(NamedTuple):
    path: str
    offset: int
    size: int


class Files:
    """Names are the archive's own. `plain` is where a compressed tar is unpacked to, if it is one."""

    def __init__(self, path: str, plain: Path, limit: int) -> None:
        self._folder = ""
        self._pieces: dict[str, _Piece] = {}
        self._fd = -1
        if not os.path.exists(path):
            raise NotFound(f"{path} does not exist on the node")
        if os.path.isdir(path):
            self._folder = path
        else:
            self._index(path, plain, limit)

    def _index(self, path: str, plain: Path, limit: int) -> None:
        try:
            with open(path, "rb") as file:
                if kind(file.read(16)):
                    file.seek(0)
                    _inflate(file.fileno(), plain, limit)
                    path = str(plain)
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    name = os.path.normpath(member.name)
                    target = _linked(member)
                    if target and target in self._pieces:
                        self._pieces[name] = self._pieces[target]
                    elif member.isreg():
                        self._pieces[name] = _Piece(path, member.offset_data, member.size)
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (tarfile.TarError, OSError) as error:
            raise InvalidArgument(f"{path} is neither a tar archive nor a folder: {error}") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def has(self, name: str) -> bool:
        if self._folder:
            return os.path.isfile(f"{self._folder}/{_inside(name)}")
        return _inside(name) in self._pieces

    def read(self, name: str) -> bytes:
        """A whole small file. Raises NotFound, and InvalidArgument for one that is not small."""
        data = b""
        for chunk in self.chunks(name, 0):
            data += chunk
            if len(data) > _SMALL:
                raise InvalidArgument(f"the archive's {name} is larger than {_SMALL} bytes")
        return data

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        """A file from `offset` on. Raises NotFound."""
        if not self.has(name):
            raise NotFound(f"the archive has no {name}; it is incomplete")
        return self._in_folder(name, offset) if self._folder else self._in_tar(self._pieces[_inside(name)], offset)

    def _in_folder(self, name: str, offset: int) -> Iterator[bytes]:
        with open(f"{self._folder}/{_inside(name)}", "rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk

    def _in_tar(self, piece: _Piece, offset: int) -> Iterator[bytes]:
        while offset < piece.size:
            chunk = os.pread(self._fd, min(CHUNK, piece.size - offset), piece.offset + offset)
            if not chunk:
                raise InvalidArgument("the archive is truncated")
            offset += len(chunk)
            yield chunk


def _linked(member: tarfile.TarInfo) -> str:
    """What a link in the archive means, as a name of the archive; empty for what is none."""
    if member.islnk():
        return os.path.normpath(member.linkname)
    if member.issym():
        return os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    return ""


def _inside(name: str) -> str:
    clean = os.path.normpath(name)
    if clean.startswith(("/", "..")):
        raise InvalidArgument(f"the archive names {name!r}, which is outside of it")
    return clean


def _inflate(fd: int, target: Path, limit: int) -> None:
    def chunks() -> Iterator[bytes]:
        while chunk := os.read(fd, CHUNK):
            yield chunk

    with target.open("wb") as file:
        for plain in inflate(chunks(), limit):
            file.write(plain)
