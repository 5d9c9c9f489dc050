"""Pulling an image that no part of is there yet: many small files, and few large ones."""

import gzip
import hashlib
from pathlib import Path

from tests.bench.client import Client
from tests.bench.report import Report
from tests.registry import Entry, Image, Layer, Registry, digest, store, tar

SMALL_FILES, SMALL_BYTES = 20_000, 116_000_000
LARGE_FILES, LARGE_BYTES = 150, 300_000_000
_SOURCES = ("/usr/lib", "/usr/share", "/usr/local")


class Bulk:
    """One layer's contents, packed once. A variant of it has a digest of its own, so that pulling is cold
    again without deleting anything before: a file system that just deleted much is slow to create."""

    def __init__(self, entries: list[Entry]) -> None:
        self._plain = tar(entries)
        self._packed = gzip.compress(self._plain, compresslevel=6, mtime=0)

    def variant(self, folder: Path, name: str) -> Layer:
        """The same contents behind one more file: a gzip file of two members, as eStargz has many."""
        head = tar([Entry("variant", name.encode())], end=False)
        packed = gzip.compress(head, mtime=0) + self._packed
        whole = hashlib.sha256(head)
        whole.update(self._plain)
        return store(folder, packed, "sha256:" + whole.hexdigest())


def contents(size: int) -> bytes:
    """That many bytes of real files of this machine."""
    parts: list[bytes] = []
    missing = size
    for source in _SOURCES:
        for path in sorted(Path(source).rglob("*")):
            if missing <= 0:
                return b"".join(parts)
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000_000:
                data = path.read_bytes()[:missing]
                parts.append(data)
                missing -= len(data)
    whole = b"".join(parts)
    return (whole * (size // len(whole) + 1))[:size]


def small_files() -> Bulk:
    """20,000 files in 200 folders."""
    data, each = contents(SMALL_BYTES), SMALL_BYTES // SMALL_FILES
    folders = [Entry(f"d{k:03}", folder=True, mode=0o755) for k in range(200)]
    files = [Entry(f"d{k % 200:03}/f{k}", data[k * each : (k + 1) * each]) for k in range(SMALL_FILES)]
    return Bulk(folders + files)


def large_files() -> Bulk:
    data, each = contents(LARGE_BYTES), LARGE_BYTES // LARGE_FILES
    return Bulk([Entry(f"f{k}", data[k * each : (k + 1) * each]) for k in range(LARGE_FILES)])


class Pulls:
    """Both images, one variant a round; `push` makes the round's ready for every side."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry, self.folder = registry, folder
        self._bulks = {"pull of a layer of 20,000 files": small_files(), "pull of a layer of 300 MB": large_files()}

    def push(self, number: int) -> dict[str, str]:
        """The images of this round by what they are."""
        images = {}
        for what, bulk in self._bulks.items():
            layer = bulk.variant(self.folder, f"{what} {number}")
            name = f"bench/{digest(what.encode())[7:15]}"
            self.registry.push(name, Image([layer]), f"round{number}")
            layer.path.unlink()
            images[what] = f"{self.registry.host}/{name}:round{number}"
        return images


def pull(client: Client, report: Report, images: dict[str, str]) -> None:
    for what, image in images.items():
        used = client.side.cpu()
        report.row(what, "s").add(client.side.name, client.pull(image) / 1e3)
        report.row(f"{what}: CPU", "s").add(client.side.name, client.side.cpu() - used)
