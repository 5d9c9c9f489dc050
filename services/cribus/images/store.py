"""What images there are: one JSON file an image and one a reference, written by rename and to the disk.

The files are the truth; memory is a copy of them, read at start. An image's id is its config's digest. One
that is removed has another name until all of it is gone, so that whoever is killed meanwhile has it finished.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from cribus.errors import InvalidArgument, NotFound
from cribus.images.content import digest_of, hexadecimal
from cribus.images.reference import Reference, parse
from cribus.linux import files


class Layer(msgspec.Struct, frozen=True):
    digest: str  # of the blob
    diff_id: str  # of the plain tar
    size: int
    media_type: str


class Image(msgspec.Struct, frozen=True):
    id: str
    manifest: str  # digest of its manifest
    size: int  # bytes of manifest, config and layers, as they travel
    layers: list[Layer]  # bottom first
    stack: list[str] = []  # what is really stacked, bottom first: layers by diff id, and extra ones (below.py)

    def stacked(self) -> list[str]:
        return self.stack or list(dict.fromkeys(layer.diff_id for layer in self.layers))


class Removed(NamedTuple):
    image: Image
    at: int  # ns since the epoch, the same for whoever finishes it


_REMOVED = ".removed"
_SHORTEST = 4  # digits that are taken for the beginning of an id
_logger = logging.getLogger(__name__)


class Store:
    """Images and the references to them."""

    def __init__(self, root: Path) -> None:
        self._images = root / "images"
        self._references = root / "references"
        for folder in (self._images, self._references):
            folder.mkdir(parents=True, exist_ok=True)
        self.images: dict[str, Image] = {}
        self.references: dict[str, str] = {}  # whole reference → image id
        self.removed: dict[str, Removed] = {}  # by image id: whose removal was begun
        self._turn = asyncio.Lock()
        self._load()

    def _load(self) -> None:
        for path in _ours(self._images):
            with _survivable(path):
                image = msgspec.json.decode(path.read_bytes(), type=Image)
                if path.suffix == _REMOVED:
                    self.removed[image.id] = Removed(image, path.stat().st_ctime_ns)
                else:
                    self.images[image.id] = image
        for path in _ours(self._references):
            with _survivable(path):
                known = json.loads(path.read_bytes())
                if known["image"] not in self.images:
                    raise ValueError(f"there is no image {known['image']}")
                self.references[known["reference"]] = known["image"]

    async def add(self, image: Image, references: list[str]) -> None:
        """Write an image, then its references: a kill in between leaves an image without a name.

        Once this has returned, no loss of power takes it back. Raises OSError.
        """
        async with self._turn:
            await asyncio.to_thread(self._write, image, references)
            self.images[image.id] = image
            self.references.update(dict.fromkeys(references, image.id))

    def _write(self, image: Image, references: list[str]) -> None:
        files.write_durable(str(self._file(image.id)), msgspec.json.encode(image))
        for reference in references:
            body = json.dumps({"reference": reference, "image": image.id}).encode()
            files.write_durable(str(self._path(reference)), body)

    def _path(self, reference: str) -> Path:
        name = quote(reference, safe="")
        return self._references / (
            f"{name[:180]}.json" if len(name) <= 180 else f"{digest_of(reference.encode())[7:]}.json"
        )

    def names(self, image_id: str) -> list[str]:
        return sorted(reference for reference, image in self.references.items() if image == image_id)

    def find(self, text: str) -> Image | None:
        """The image that a reference, an image id, or the beginning of an id means; None if there is none.

        Raises InvalidArgument when nothing is named, or for a beginning that two ids share.
        """
        if not text:
            raise InvalidArgument("no image is named; give a reference or an image id")
        direct = self.references.get(text) or text
        if direct in self.images:
            return self.images[direct]
        try:
            named = self._by_reference(parse(text))
        except InvalidArgument:  # an id, or the name of nothing that could be here
            named = None
        return named or self._by_beginning(text)

    def _by_beginning(self, text: str) -> Image | None:
        beginning = text.removeprefix("sha256:")
        if len(beginning) < _SHORTEST or set(beginning) - set("0123456789abcdef"):
            return None
        matches = [image for id, image in self.images.items() if id.startswith(f"sha256:{beginning}")]
        if len(matches) > 1:
            raise InvalidArgument(f"{text!r} begins the ids of {len(matches)} images; give more of it")
        return matches[0] if matches else None

    def _by_reference(self, wanted: Reference) -> Image | None:
        key = f"{wanted.name}@{wanted.digest}" if wanted.digest else wanted.tagged
        return self.images.get(self.references.get(key, ""))

    def need(self, text: str) -> Image:
        """`find`, but raises NotFound."""
        found = self.find(text)
        if found is None:
            raise NotFound(f"image {text!r} is not on this node; pull it first")
        return found

    def untag(self, reference: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(reference))
        self.references.pop(reference, None)

    async def remove(self, image_id: str) -> None:
        """An image and every reference to it: it is `removed` until `forget`. Idempotent."""
        async with self._turn:
            if image_id in self.images:
                image, path = self.images.pop(image_id), self._file(image_id, _REMOVED)
                try:
                    os.rename(self._file(image_id), path)
                except FileNotFoundError:  # somebody else has cleaned up here
                    path.write_bytes(msgspec.json.encode(image))
                self.removed[image_id] = Removed(image, path.stat().st_ctime_ns)
            for reference in self.names(image_id):
                self.untag(reference)

    def forget(self, image_id: str) -> None:
        """Of one that is removed nothing is left. Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file(image_id, _REMOVED))
        self.removed.pop(image_id, None)

    def _file(self, image_id: str, suffix: str = ".json") -> Path:
        return self._images / (hexadecimal(image_id) + suffix)


def _ours(folder: Path) -> Iterator[Path]:
    """Our files; those that a killed process has left half-written go."""
    for path in folder.iterdir():
        if path.suffix not in (".json", ".tmp", _REMOVED) or not path.is_file() or path.is_symlink():
            _logger.warning("a name that is not ours is left alone", extra={"path": str(path)})
        elif path.suffix == ".tmp":
            path.unlink()
        else:
            yield path


@contextlib.contextmanager
def _survivable(path: Path) -> Iterator[None]:
    """A file that a machine without power has left torn costs its image, not the service."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        _logger.warning("a torn file is removed", extra={"path": str(path), "cause": str(error)})
        path.unlink()
