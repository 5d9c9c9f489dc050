"""Unpacked layers, a directory each, and the writable layers of containers over them.

A layer is made in a folder of its own and renamed to its name (the beginning of its diff id: short,
because overlayfs takes one page of options). Deleting renames into the trash first; the trash is
emptied elsewhere, at leisure.
"""

import contextlib
import json
import os
import secrets
import shutil
import threading
from pathlib import Path

from cribus.errors import NotFound
from cribus.images import whiteouts
from cribus.images.content import hexadecimal
from cribus.linux import files

_FILE = 256 << 10  # bytes of /etc/passwd or /etc/group that are looked at


class Snapshots:
    """Layers and writable layers below one directory."""

    def __init__(self, root: Path) -> None:
        self._layers = root / "layers"
        self._containers = root / "containers"
        self._trash = root / "trash"
        self._making = root / "making"
        for folder in (self._layers, self._containers, self._trash, self._making):
            folder.mkdir(parents=True, exist_ok=True)

    def clean(self) -> None:
        """Away with what a killed process left half-made."""
        for leftover in self._making.iterdir():
            self._discard(leftover)
        self.empty_trash()

    def layer(self, diff_id: str) -> Path:
        return self._layers / hexadecimal(diff_id)[:32]

    def has(self, diff_id: str) -> bool:
        return self.layer(diff_id).exists()

    def new(self) -> Path:
        """An empty folder to unpack into; `commit` or `abandon` ends it."""
        folder = self._making / secrets.token_hex(8)
        folder.mkdir(mode=0o755)
        return folder

    def commit(self, folder: Path, diff_id: str) -> None:
        """The folder is the layer. A twin that was faster wins."""
        try:
            folder.rename(self.layer(diff_id))
        except OSError:
            if not self.has(diff_id):
                raise
            self.abandon(folder)

    def abandon(self, folder: Path) -> None:
        self._discard(folder)
        threading.Thread(target=self.empty_trash, daemon=True).start()

    def known(self) -> list[str]:
        return [path.name for path in self._layers.iterdir()]

    def delete_layer(self, name: str) -> None:
        self._discard(self._layers / name)

    def _discard(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(self._trash / secrets.token_hex(8))

    def empty_trash(self) -> None:
        for leftover in self._trash.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)  # what resists is tried again at the next start

    def prepare(self, container: str, image: dict[str, object]) -> tuple[Path, Path]:
        """(upper, work) of a container's writable layer; `image` is kept beside it. Idempotent."""
        folder = self._containers / container
        upper, work = folder / "upper", folder / "work"
        if not (folder / "image.json").exists():
            for one in (upper, work):
                one.mkdir(parents=True, exist_ok=True)
            os.chmod(upper, 0o755)
            files.write_atomic(str(folder / "image.json"), json.dumps(image).encode())
        return upper, work

    def discard(self, container: str) -> bool:
        """Remove a container's writable layer. Idempotent; whether there was one."""
        folder = self._containers / container
        there = folder.exists()
        self._discard(folder)
        return there

    def in_use(self) -> dict[str, dict[str, object]]:
        """Container → the image that it was made from."""
        found: dict[str, dict[str, object]] = {}
        for folder in self._containers.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[folder.name] = json.loads((folder / "image.json").read_bytes())
        return found

    def usage(self, container: str) -> tuple[int, int]:
        """(bytes, inodes) of what a container has written. Raises NotFound."""
        upper = self._containers / container / "upper"
        if not upper.exists():
            raise NotFound(f"container {container} has no writable layer here")
        return tree_usage(upper)

    def read(self, lower: list[Path], path: str) -> bytes:
        """A small file as the stacked layers show it; empty when there is none. Top layer first.

        Links are followed inside the layer that holds them; a whiteout or an opaque parent ends the search.
        """
        for layer in lower:
            root = os.open(layer, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fd = files.openat2(root, path, os.O_RDONLY | os.O_NONBLOCK, files.RESOLVE_IN_ROOT)
            except OSError:
                if self._hidden(layer, path):
                    return b""
                continue
            finally:
                os.close(root)
            with os.fdopen(fd, "rb") as file:
                if whiteouts.is_whiteout(os.fstat(file.fileno())):
                    return b""
                return file.read(_FILE)
        return b""

    def _hidden(self, layer: Path, path: str) -> bool:
        parent = layer / os.path.dirname(path)
        with contextlib.suppress(OSError):
            if whiteouts.is_whiteout(os.lstat(parent)) or whiteouts.is_whiteout(os.lstat(layer / path)):
                return True
        return whiteouts.is_opaque(str(parent))


def tree_usage(root: Path) -> tuple[int, int]:
    """(bytes on disk, inodes) below a directory, itself left out; a hard link counts once."""
    total = inodes = 0
    seen: set[int] = set()
    stack = [str(root)]
    while stack:
        try:
            with os.scandir(stack.pop()) as listing:
                for entry in listing:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_ino in seen:
                        continue
                    if found.st_nlink > 1:
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
                    inodes += 1
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
        except FileNotFoundError:  # a running container deletes while we count
            continue
    return total, inodes
