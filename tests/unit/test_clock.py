"""The clock of the host may be set at any time: no decision may hang on it. Deadlines, pauses and ages within a
boot are measured by the monotonic clock; the other one is for times that are told or kept for people and clients.
Who compares or reckons with it all the same is named here, with the reason why a wrong clock does no harm."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOM = Path(__file__).resolve().parents[2] / "services" / "cribus"
TOLD = "a duration or an age that is told"
RECKON = {
    "bus/codec.py": "the deadline for versions that do not know the monotonic one, and of those",
    "bus/trace.py": TOLD,
    "cli/events.py": "how far back a person wants to look",
    "cli/output/table.py": TOLD,
    "cli/story/kernel.py": TOLD,
    "cli/supervisor/control.py": "which hangs a person is still shown",
    "executor/found.py": "a start that is told, from the one since boot",
    "images/content.py": "files carry no other time; one that is old too early is fetched again",
    "images/pull.py": TOLD,
    "images/registry/client.py": "Retry-After as a date is of a clock that others set too; the pause has a limit",
    "images/snapshots.py": "files carry no other time; a layer that is old too early is made again",
    "manager/reconcile.py": "which changes are young enough to be told again, between two limits",
    "shim/note.py": TOLD,
    "steps.py": TOLD,
}


def _is_read(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("time", "time_ns")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "time"
    )


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    yield from (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _reckons(scope: ast.AST) -> bool:
    """Whether a time is compared, added or subtracted there, at once or by the name that it was given."""
    given = {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and _is_read(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    parts = [
        part
        for node in ast.walk(scope)
        if isinstance(node, ast.Compare | ast.BinOp)
        for operand in ast.iter_child_nodes(node)
        for part in _operands(operand)
    ]
    return any(_is_read(one) or (isinstance(one, ast.Name) and one.id in given) for one in parts)


def _operands(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what it is made of, but not what it hands to others."""
    yield node
    if not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from _operands(child)


def test_who_reckons_with_the_clock_that_may_be_set() -> None:
    found = {
        str(path.relative_to(ROOM))
        for path in ROOM.rglob("*.py")
        if any(_reckons(scope) for scope in _scopes(ast.parse(path.read_text())))
    }
    assert sorted(found - RECKON.keys()) == [], "say here why a wrong clock does no harm, or use time.monotonic"


def test_it_is_seen() -> None:
    seen = ["def f(): return time.time() > x", "def f():\n  now = time.time_ns()\n  return x - now"]
    assert all(_reckons(ast.parse(one)) for one in seen)
    assert not _reckons(ast.parse("def f(): return Event(at=time.time_ns(), n=a + b)"))
