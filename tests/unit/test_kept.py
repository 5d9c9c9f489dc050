from pathlib import Path

import pytest
from cribus.kept import Kept, whole


def test_a_record_and_its_spec(tmp_path: Path) -> None:
    kept = Kept(str(tmp_path))
    assert (kept.ids(), kept.has("a"), kept.record("a")) == ([], False, b"")
    kept.put("a", b'{"id":"a"}', b'{"ociVersion":"1"}')
    kept.put("b", b'{"id":"b"}')
    kept.put("b", b'{"id":"b","n":2}')
    assert kept.ids() == ["a", "b"]
    assert (kept.record("a"), kept.spec("a")) == (b'{"id":"a"}', b'{"ociVersion":"1"}')
    assert (kept.record("b"), kept.spec("b")) == (b'{"id":"b","n":2}', b"")
    assert (tmp_path / "kept" / "a.json").stat().st_mode & 0o777 == 0o600
    kept.drop("a")
    kept.drop("a")
    assert (kept.ids(), kept.has("a"), kept.has("b")) == (["b"], False, True)


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b'{"a":1}', True),
        (b'"an environment\\udc80"', True),
        (b"", False),
        (b'{"a":', False),
        (b"\0\xff", False),
        (b'{"a":1}x', False),
    ],
)
def test_what_was_cut_short_says_nothing(data: bytes, read: bool) -> None:
    assert whole(data) == (data if read else b"")


def test_each_half_counts_by_itself(tmp_path: Path) -> None:
    kept = Kept(str(tmp_path))
    kept.put("a", b'{"id":"a"}', b'{"cut')
    assert (kept.record("a"), kept.spec("a")) == (b'{"id":"a"}', b"")
