"""docs/cri.md has every call of the compiled proto, and names files and tests that exist."""

import ast
import re
from pathlib import Path

import pytest
from cribus.gateway.cri import api_pb2

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cri.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def test_every_call_has_a_row() -> None:
    services = api_pb2.DESCRIPTOR.services_by_name.values()
    calls = [method.name for service in services for method in service.methods]
    rows = [row[0] for row in ROWS if len(row) == 3 and row[0] not in ("call", "---")]
    assert len(calls) == 43
    assert sorted(rows) == sorted(calls)


def test_where_it_is_done() -> None:
    named = {one for row in ROWS if len(row) == 3 for one in re.findall(r"`([a-z_/]+\.py)`", row[1])}
    assert named
    assert [one for one in named if not (ROOT / "services" / "cribus" / one).is_file()] == []


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([a-z_/]+\.py::test_\w+)`", PAGE))))
def test_what_proves_it_is_there(named: str) -> None:
    file, _, name = named.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
