"""File systems of their own for tests, in files: small ones that get full, and ones whose power can be cut.

A cut keeps what the inner file system had given to its disk at one moment, and nothing that was in memory:
its backing file lies on XFS, where a reflink copy is made in one step. Source: ioctl_ficlone(2).
"""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import until

_FICLONE = 0x40049409
_MIB = 1 << 20


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system in a file, mounted while inside."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        until(lambda: not subprocess.run(["umount", str(folder)], capture_output=True).returncode, 20, "it is at rest")


def ext4(image: Path, size: int, *options: str) -> Path:
    """A new one of so many MiB, in a file; the file."""
    _empty(image, size)
    _run("mkfs.ext4", "-q", "-F", "-O", "^resize_inode", *options, str(image))
    return image


class Disk:
    """A file system whose power can be cut, mounted at `root`."""

    def __init__(self, outer: Path, root: Path) -> None:
        self.root = root
        self._outer = outer
        self._cuts = 0

    def cut(self) -> Path:
        """What would be left if the power failed now: a file system in a file."""
        self._cuts += 1
        copy = self._outer / f"cut{self._cuts}"
        with (self._outer / "disk").open("rb") as source, copy.open("wb") as target:
            fcntl.ioctl(target, _FICLONE, source.fileno())
        return copy


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Disk]:
    """A disk of so many MiB that is there while inside, with the copies that are made of it."""
    image = folder / "outer"
    _empty(image, max(320, 2 * size))
    _run("mkfs.xfs", "-q", "-m", "reflink=1", str(image))
    with mounted(image, folder / "xfs") as outer, mounted(ext4(outer / "disk", size), folder / "root") as root:
        yield Disk(outer, root)


def _empty(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size * _MIB)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert not done.returncode, f"{argv}: {done.stderr}"
