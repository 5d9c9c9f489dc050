"""One layer: fetched bytes in, blob and directory out, or nothing."""

import gzip
import os
import threading
from pathlib import Path

import pytest
from cribus.errors import CribusError, DataLoss, InvalidArgument
from cribus.images import layer
from cribus.images.layer import Job
from cribus.images.unpack import Unpacked

from tests.registry import Entry, tar
from tests.unit.images.world import digest

PLAIN = tar([Entry("file", os.urandom(300_000))])
PACKED = gzip.compress(PLAIN)


class Place:
    """Where one layer goes."""

    def __init__(self, root: Path) -> None:
        self.blob, self.partial, self.folder = root / "blob", root / "partial", root / "folder"
        (self.folder / "fs").mkdir(parents=True)

    def job(self, **changes: object) -> Job:
        made = Job(
            digest(PACKED), digest(PLAIN), len(PACKED), 1 << 30, str(self.blob), str(self.partial), 0, str(self.folder)
        )
        return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def bring(job: Job, data: bytes) -> Unpacked:
    """Run the job while a thread feeds it."""
    reading, writing = os.pipe()

    def feed() -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(writing, view) :]
        except BrokenPipeError:
            return
        finally:
            os.close(writing)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        return layer.bring(job, reading)
    finally:
        os.close(reading)
        feeder.join()


def test_whole(place: Place) -> None:
    made = bring(place.job(), PACKED)
    assert place.blob.read_bytes() == PACKED
    assert (place.folder / "fs" / "file").stat().st_size == 300_000
    assert (made.inodes, place.partial.exists()) == (1, False)


def test_from_where_an_earlier_try_was(place: Place) -> None:
    place.partial.write_bytes(PACKED[:1000])
    bring(place.job(begun=1000), PACKED[1000:])
    assert place.blob.read_bytes() == PACKED


def test_from_a_blob_that_is_there(place: Place) -> None:
    place.blob.write_bytes(PACKED)
    fd = os.open(place.blob, os.O_RDONLY)
    assert layer.bring(place.job(partial=""), fd).inodes == 1
    os.close(fd)


def test_the_blob_alone(place: Place) -> None:
    assert bring(place.job(folder=""), PACKED).inodes == 0
    assert place.blob.read_bytes() == PACKED
    assert os.listdir(place.folder / "fs") == []


def test_what_came_of_a_short_blob_is_kept(place: Place) -> None:
    with pytest.raises(DataLoss):
        bring(place.job(), PACKED[:5000])
    assert place.partial.read_bytes() == PACKED[:5000] or not place.partial.exists()
    assert not place.blob.exists()


BAD: dict[str, tuple[dict[str, object], bytes, type[CribusError], str]] = {
    "another blob": ({}, PACKED[:-1] + b"x", DataLoss, "lies or is broken"),
    "too long": ({}, PACKED + b"more", DataLoss, "digest"),
    "another layer": ({"diff_id": digest(b"")}, PACKED, DataLoss, "config says"),
    "a bomb": ({"limit": 1000}, PACKED, InvalidArgument, "max_layer_size"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad(place: Place, what: str) -> None:
    changes, data, kind, says = BAD[what]
    with pytest.raises(CribusError, match=says) as caught:
        bring(place.job(**changes), data)
    assert isinstance(caught.value, kind)
    assert not place.partial.exists()


def test_what_it_leaves_to_others_is_written_down(place: Place) -> None:
    plain = tar([Entry("d/file", b"x")])
    bring(place.job(digest=digest(plain), diff_id=digest(plain), size=len(plain)), plain)
    assert (place.folder / "below").read_text() == '{"folders": ["d", ""], "links": []}'
