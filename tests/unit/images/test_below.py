"""What a layer leaves to lower ones is made once a stack."""

import stat
from pathlib import Path

import msgspec
import pytest
from cribus.errors import InvalidArgument
from cribus.images import below
from cribus.images.snapshots import Snapshots, Usage
from cribus.images.trash import Trash

from tests.registry import Entry, tar
from tests.unit.images.world import digest, unpacked


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    made = Snapshots(tmp_path, Trash(tmp_path / "trash"))
    made.open()
    return made


def layer(snapshots: Snapshots, *entries: Entry) -> str:
    data = tar(entries)
    folder = snapshots.new()
    left = unpacked(data, folder / "fs")
    if left.folders or left.links:
        (folder / "below").write_bytes(msgspec.json.encode({"folders": left.folders, "links": left.links}))
    snapshots.commit(folder, digest(data), Usage(0, 0))
    return digest(data)


LOW = (Entry("d", folder=True, mode=0o710), Entry("d/file", b"low", 0o600))


def test_whole_layers_are_stacked_as_they_are(snapshots: Snapshots) -> None:
    ids = [layer(snapshots, *LOW), layer(snapshots, Entry("d", folder=True), Entry("d/x", b"x"))]
    assert below.stack(snapshots, [*ids, ids[0]]) == ids


def test_an_extra_layer(snapshots: Snapshots) -> None:
    ids = [layer(snapshots, *LOW), layer(snapshots, Entry("d/deep/x", b"x"), Entry("l", link="d/file"))]
    low, high, extra = below.stack(snapshots, ids)
    assert [low, high] == ids
    made = Path(snapshots.path(extra))
    assert stat.S_IMODE((made / "d").stat().st_mode) == 0o711
    assert stat.S_IMODE((made / "d/deep").stat().st_mode) == 0o755
    assert (made / "l").read_bytes() == b"low"
    assert below.stack(snapshots, ids) == [low, high, extra]


def test_a_link_to_nothing(snapshots: Snapshots) -> None:
    low, high = layer(snapshots, *LOW), layer(snapshots, Entry("l", link="none"))
    for ids in ([low, high], [high]):
        with pytest.raises(InvalidArgument, match="'none'"):
            below.stack(snapshots, ids)


def test_at_the_bottom_nothing_is_below(snapshots: Snapshots) -> None:
    ids = [layer(snapshots, Entry("d/x", b"x"))]
    assert below.stack(snapshots, ids) == ids
