"""What a process had to tell when it was killed."""

from pathlib import Path

import pytest
from cribus.bus.spool import Spool


def left(path: str) -> list[bytes]:
    """What the next process finds."""
    spool = Spool(path)
    try:
        return spool.left()
    finally:
        spool.close()


def test_what_is_left_is_found_in_order_until_it_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "events" / "manager")
    first = Spool(path)
    assert first.left() == []
    for entry in (b"one", b"", b"three" * 1000):
        first.add(entry)
    first.close()  # as the kernel does for one that is killed
    second = Spool(path)
    assert second.left() == [b"one", b"", b"three" * 1000]
    second.add(b"four")
    second.close()
    third = Spool(path)
    assert third.left()[-1] == b"four"
    third.clear()
    third.close()
    assert left(path) == []


def test_half_an_entry_is_none(tmp_path: Path) -> None:
    path = tmp_path / "manager"
    first = Spool(str(path))
    first.add(b"one")
    first.add(b"two")
    first.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert left(str(path)) == [b"one"]


def test_it_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "manager")
    first, second = Spool(path), Spool(path)
    first.add(b"one")
    assert second.left() == []
    second.add(b"lost")
    second.clear()
    first.close()
    assert left(path) == [b"one"]


def test_no_room_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no directory")
    spool = Spool(str(tmp_path / "file" / "manager"))
    spool.add(b"one")
    spool.clear()
    assert "in memory only" in caplog.text
