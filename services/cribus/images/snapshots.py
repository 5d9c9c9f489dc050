"""Unpacked layers, a directory each, and the writable layers of containers over them.

    layers/<diff id>/fs      the layer, as overlayfs takes it
    layers/<diff id>/usage   "bytes inodes", and the id of this boot until the layer is known to be on the disk
    layers/<diff id>/below   what it leaves to the layers below it, if anything (below.py)
    l/<number>               link to a layer: overlayfs takes one page of options, so its paths are short
    containers/<id>/         upper, work, image.json
    making/<random>/         a layer that is being unpacked

A layer is made aside and renamed to its place, and renamed into the trash when it goes. To wait until all
of its files are on the disk would hold up a pull, and with it whoever else writes: so a layer says in which
boot it was made, until `synced`. A later boot does not trust it then: it is made again from its blob (mend.py).
"""

import contextlib
import itertools
import json
import logging
import os
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cribus.errors import NotFound
from cribus.images.content import hexadecimal, named
from cribus.images.trash import Trash
from cribus.linux import files
from cribus.steps import Step

_COMMIT = Step("images.pull.layer-renamed")
_LINK = Step("images.pull.layer-linked")
_DROP = Step("images.remove.layer")
_FOLDERS = Step("images.prepare.folders")
_NOTE = Step("images.prepare.noted")
_DISCARD = Step("images.discard.taken")
_logger = logging.getLogger(__name__)


class Usage(NamedTuple):
    bytes: int
    inodes: int


def boot() -> str:
    """This boot's id (random(4), boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Snapshots:
    """Layers and writable layers below one directory. What is known of them is kept in memory too."""

    def __init__(self, root: Path, trash: Trash) -> None:
        self._layers = root / "layers"
        self._links = root / "l"
        self._containers = root / "containers"
        self._making = root / "making"
        self._trash = trash
        self._boot = boot()
        for folder in (self._layers, self._links, self._containers, self._making):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        (self._making / "none" / "fs").mkdir(parents=True, exist_ok=True)
        self.layers: dict[str, Usage] = {}  # by diff id
        self.fresh: dict[str, object] = {}  # layers that a loss of power could harm, and which making of them
        self.containers: dict[str, dict[str, object]] = {}  # id → what `prepare` was told
        self._numbers: dict[str, str] = {}  # diff id → name of its link

    def open(self) -> None:
        """See what is there; away with what a killed process left half-made."""
        for leftover in self._making.iterdir():
            if leftover.name != "none":
                self._trash.take(leftover)
        self._trash.empty()
        for link in self._links.iterdir():
            if not link.is_symlink():
                _foreign(link)
                continue
            owner = f"sha256:{os.path.basename(os.path.dirname(os.readlink(link)))}"
            if link.exists() and owner not in self._numbers:
                self._numbers[owner] = link.name
            else:
                link.unlink()
        for diff_id, _ in named(self._layers):
            self._know(diff_id)
        for folder in self._containers.iterdir():
            if not (folder.name.isalnum() and folder.is_dir() and not folder.is_symlink()):
                _foreign(folder)
                continue
            try:
                self.containers[folder.name] = json.loads((folder / "image.json").read_bytes())
            except (FileNotFoundError, ValueError):  # killed half-way through making it
                self._trash.take(folder)

    def has(self, diff_id: str) -> bool:
        return diff_id in self.layers

    def path(self, diff_id: str) -> str:
        """A layer's directory, by its short name."""
        return f"{self._links}/{self._numbers[diff_id]}"

    def below(self, diff_id: str) -> bytes:
        """What a layer leaves to those below it; empty if nothing."""
        try:
            return (self._layers / hexadecimal(diff_id) / "below").read_bytes()
        except FileNotFoundError:
            return b""

    def nothing(self) -> str:
        """A directory without content: the layer of an image that has none."""
        return f"{self._making}/none/fs"

    def new(self) -> Path:
        """A folder to unpack into (its `fs`); `commit` or `abandon` ends it."""
        folder = self._making / secrets.token_hex(8)
        (folder / "fs").mkdir(mode=0o755, parents=True)
        return folder

    def commit(self, folder: Path, diff_id: str, usage: Usage) -> None:
        """The folder is the layer. Idempotent: a twin that was faster wins."""
        if self.has(diff_id):
            self.abandon(folder)
            return
        (folder / "usage").write_text(f"{usage.bytes} {usage.inodes} {self._boot}")
        with _COMMIT.of(diff_id):
            os.rename(folder, self._layers / hexadecimal(diff_id))
        with _LINK.of(diff_id):
            self._link(diff_id)
        self.layers[diff_id] = usage
        self.fresh[diff_id] = object()

    def _know(self, diff_id: str) -> None:
        """See a layer that is there. Raises nothing: what is not to be trusted goes."""
        try:
            size, inodes, *made = (self._layers / hexadecimal(diff_id) / "usage").read_text().split(maxsplit=2)
            if made not in ([], [self._boot]):
                raise ValueError("it may have lost files with the power")
            self.layers[diff_id] = Usage(int(size), int(inodes))
        except (OSError, ValueError) as error:
            _logger.warning("a layer is not to be trusted", extra={"layer": diff_id, "cause": str(error)})
            self.drop(diff_id)
            return
        if made:
            self.fresh[diff_id] = object()
        self._link(diff_id)

    def _link(self, diff_id: str) -> None:
        if diff_id not in self._numbers:
            number = next(n for n in itertools.count() if not os.path.lexists(self._links / _base36(n)))
            os.symlink(f"../layers/{hexadecimal(diff_id)}/fs", self._links / _base36(number))
            self._numbers[diff_id] = _base36(number)

    def synced(self, these: Mapping[str, object]) -> None:
        """What was `fresh` is on the disk, with all that is in it. If this note is lost, it costs time alone."""
        for diff_id, making in these.items():
            if self.fresh.get(diff_id) is making:
                usage = self.layers[diff_id]
                path = self._layers / hexadecimal(diff_id) / "usage"
                files.write_atomic(str(path), f"{usage.bytes} {usage.inodes}".encode())
                del self.fresh[diff_id]

    def abandon(self, folder: Path) -> None:
        self._trash.take(folder)

    def drop(self, diff_id: str) -> None:
        """Delete a layer. Idempotent."""
        self.layers.pop(diff_id, None)
        self.fresh.pop(diff_id, None)
        number = self._numbers.pop(diff_id, "")
        if number:
            (self._links / number).unlink(missing_ok=True)
        with _DROP.of(diff_id):
            self._trash.take(self._layers / hexadecimal(diff_id))

    def age(self, diff_id: str) -> float:
        """Seconds since a layer was made."""
        try:
            return time.time() - (self._layers / hexadecimal(diff_id) / "usage").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def prepare(self, container: str, image: dict[str, object], root: os.stat_result) -> tuple[str, str]:
        """(upper, work) of a container's writable layer. Idempotent.

        `root` is the image's root directory, whose place it takes; `image` is kept beside the layer.
        """
        folder = f"{self._containers}/{container}"
        upper, work = f"{folder}/upper", f"{folder}/work"
        if container not in self.containers:
            with _FOLDERS.of(container):
                for one, mode in ((folder, 0o711), (upper, 0o755), (work, 0o711)):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(one, mode)
            os.chown(upper, root.st_uid, root.st_gid)
            os.chmod(upper, stat.S_IMODE(root.st_mode))
            with _NOTE.of(container):
                files.write_atomic(f"{folder}/image.json", json.dumps(image).encode())
            self.containers[container] = image
        return upper, work

    def discard(self, container: str) -> dict[str, object]:
        """Remove a container's writable layer; what `prepare` was told, empty if there was none. Idempotent."""
        with _DISCARD.of(container):
            self._trash.take(self._containers / container)
        return self.containers.pop(container, {})

    def upper(self, container: str) -> str:
        """The directory of what a container has written. Raises NotFound."""
        if container not in self.containers:
            raise NotFound(f"container {container} has no writable layer here")
        return f"{self._containers}/{container}/upper"

    def usage(self, container: str) -> Usage:
        """What a container has written. Raises NotFound. Walks the layer: for a thread."""
        return tree_usage(self.upper(container))

    def written(self) -> Usage:
        """What all containers have written. Walks their layers: for a thread."""
        each = [tree_usage(f"{self._containers}/{one}/upper") for one in list(self.containers)]
        return Usage(sum(one.bytes for one in each), sum(one.inodes for one in each))


def _foreign(path: Path) -> None:
    _logger.warning("a name that is not ours is left alone", extra={"path": str(path)})


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
        if not number:
            return digits


def tree_usage(root: str) -> Usage:
    """Bytes on disk and inodes below a directory, itself left out; a hard link counts once."""
    total = inodes = 0
    seen: set[int] = set()
    stack = [root]
    while stack:
        try:
            with os.scandir(stack.pop()) as listing:
                for entry in listing:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if found.st_ino in seen:
                            continue
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
                    inodes += 1
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
        except OSError:  # a running container deletes while we count, or nests beyond any path's length
            continue
    return Usage(total, inodes)
