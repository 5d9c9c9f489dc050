import json

import pytest
from cribus.cli.output import table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [{"name": "a", "pid": "12345"}, {"name": "longer", "pid": "1"}]
    assert table.lines(rows, ("name", "pid")) == ["NAME     PID", "a        12345", "longer   1"]
    assert table.lines([], ("name", "pid")) == ["NAME   PID"]


def test_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"a": 1, "b": [2]}], ("a",), as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": [2]}]
    table.show([{"a": 1, "b": [2]}], ("a",), as_json=False)
    assert capsys.readouterr().out == "A\n1\n"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86400 * 3, "3d"), (-5, "0s")]
)
def test_age(seconds: int, expected: str) -> None:
    assert table.age(10**18, 10**18 + seconds * 10**9) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (2_030_000, "2.03 MB"), (3 * 10**12, "3 TB")]
)
def test_size(count: int, expected: str) -> None:
    assert table.size(count) == expected


def test_short() -> None:
    assert table.short("sha256:" + "a" * 64) == "a" * 13
