"""What a layer leaves to the layers below it.

Layers are unpacked side by side, each knowing nothing of the others, and serve every image that has them.
But a layer may put files into a directory that only a lower layer describes (its mode and owner would be
lost: overlayfs shows those of the topmost), and may have a hard link to a file of a lower layer. For such
a layer in such a place a small extra one is made, which lies above it and has those directories and files.
"""

import os
import stat
from pathlib import Path

import msgspec

from cribus.errors import InvalidArgument
from cribus.images import merged, xattrs
from cribus.images.content import digest_of
from cribus.images.folders import DIRECTORY
from cribus.images.snapshots import Snapshots, Usage
from cribus.linux import files


class Left(msgspec.Struct, frozen=True):
    """What unpacking has written down."""

    folders: list[str]
    links: list[tuple[str, str]]


def stack(snapshots: Snapshots, diff_ids: list[str]) -> list[str]:
    """The layers to stack for an image, bottom first: its own, and the extra ones, made where they are missing.

    Blocking. Raises InvalidArgument for a hard link to nothing.
    """
    done: list[str] = []
    for diff_id in dict.fromkeys(diff_ids):
        data = snapshots.below(diff_id)
        left = msgspec.json.decode(data, type=Left) if data else None
        if left and not done and not left.links:
            left = None  # nothing is below it that could describe its folders
        if left and left.folders == [""] and not left.links and _usual(snapshots.path(done[-1])):
            left = None
        name = digest_of("\n".join(["extra", *done, diff_id]).encode())
        if left and not snapshots.has(name):
            _make(snapshots, name, [diff_id, *reversed(done)], left)
        done += [diff_id, name] if left else [diff_id]
    return done


def _usual(root: str) -> bool:
    """Whether a layer's root directory is as it is without being described."""
    found = os.stat(root)
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o755, 0, 0)


def _make(snapshots: Snapshots, name: str, above_first: list[str], left: Left) -> None:
    layers = [snapshots.path(one) for one in above_first]
    folder = snapshots.new()
    try:
        extra = _Extra(folder / "fs", layers, set(left.folders))
        for path in ("", *left.folders):  # its own root hides theirs too
            extra.folder(path)
        for path, target in left.links:
            extra.link(path, target)
    except BaseException:
        snapshots.abandon(folder)
        raise
    snapshots.commit(folder, name, Usage(4096 * extra.inodes, extra.inodes))


def _missing(name: str, target: str) -> str:
    return f"{name!r} is a hard link to {target!r}, which neither its layer nor one below has"


class _Extra:
    """The extra layer while it is made."""

    def __init__(self, root: Path, layers: list[str], implied: set[str]) -> None:
        self._root = root
        self._layers = layers  # top first: the layer itself, then those below it
        self._implied = implied
        self.inodes = 0
        self._made: set[str] = set()

    def folder(self, path: str) -> None:
        """A directory as the lower layers describe it; those above it too."""
        if path in self._made:
            return
        self._made.add(path)
        if path:
            self.folder(os.path.dirname(path))
        source = self._find(self._layers[1:] if path in self._implied else self._layers, path)
        if source < 0:
            source = self._find(self._layers, path)
        if path:
            os.mkdir(self._root / path)
            self.inodes += 1
        target = os.open(self._root / path, DIRECTORY)
        try:
            if source >= 0:
                _describe(source, target)
        finally:
            os.close(target)
            if source >= 0:
                os.close(source)

    def link(self, path: str, target: str) -> None:
        fd = merged.find(self._layers[1:], target.split("/"))
        if fd < 0 or stat.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidArgument(_missing(path, target))
        try:
            self.folder(os.path.dirname(path))
            parent = os.open(self._root, DIRECTORY)
            try:
                os.link(f"/proc/self/fd/{fd}", path, dst_dir_fd=parent, follow_symlinks=True)
            finally:
                os.close(parent)
        finally:
            os.close(fd)
        self.inodes += 1

    def _find(self, layers: list[str], path: str) -> int:
        """A descriptor of a directory, or -1."""
        if not path:
            return os.open(layers[0], DIRECTORY) if layers else -1
        found = merged.find(layers, path.split("/"))
        if found < 0:
            return -1
        try:
            return files.openat2(found, ".", DIRECTORY) if stat.S_ISDIR(os.fstat(found).st_mode) else -1
        finally:
            os.close(found)


def _describe(source: int, target: int) -> None:
    """Owner, mode, attributes and time of one directory to another."""
    found = os.fstat(source)
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    xattrs.copy(source, target)
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
