"""The clock of the host may be set at any time: no decision may hang on it. Deadlines, pauses and ages within a
boot are measured by the monotonic clock. Who still reads the other one, and why it is no decision, or one that
survives a wrong clock, is written here."""

import ast
from pathlib import Path

ROOM = Path(__file__).resolve().parents[2] / "services" / "cribus"
STAMP = "a time that is told or kept for people and clients"
READERS = {
    "bus/codec.py": "the deadline for versions that do not know the monotonic one, and of those",
    "bus/service.py": STAMP,
    "bus/trace.py": STAMP,
    "cli/events.py": "how far back a person wants to look",
    "cli/output/table.py": STAMP,
    "cli/story/gather.py": STAMP,
    "cli/story/kernel.py": STAMP,
    "cli/storm/lives.py": "a name for a rotated log",
    "cli/supervisor/control.py": STAMP,
    "executor/containers.py": STAMP,
    "executor/found.py": STAMP,
    "executor/state.py": STAMP,
    "images/content.py": "files carry no other time; one that is old too early is fetched again",
    "images/listing.py": STAMP,
    "images/node.py": STAMP,
    "images/pull.py": STAMP,
    "images/registry/client.py": "Retry-After as a date is of a clock that others set too; the pause has a limit",
    "images/rootfs.py": STAMP,
    "images/snapshots.py": "files carry no other time; a layer that is old too early is made again",
    "keeper.py": STAMP,
    "manager/container_checkpoint.py": STAMP,
    "manager/container_create.py": STAMP,
    "manager/container_start.py": STAMP + "; an exit from before it is asked for (manager/exits.py)",
    "manager/exits.py": STAMP,
    "manager/lifecycle.py": STAMP,
    "manager/metrics.py": STAMP,
    "manager/reconcile.py": STAMP + "; which changes are young, between two limits",
    "manager/sandbox_run.py": STAMP,
    "manager/sandbox_status.py": STAMP,
    "manager/stats.py": STAMP,
    "pulse.py": STAMP,
    "shim/exits.py": STAMP,
    "shim/gap.py": STAMP,
    "shim/note.py": STAMP,
    "shim/pump.py": STAMP,
    "shim/warm.py": STAMP,
    "shimd/shims.py": STAMP,
    "steps.py": STAMP,
}


def _reads_it(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("time", "time_ns")
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_who_reads_the_clock_that_may_be_set() -> None:
    found = {str(path.relative_to(ROOM)) for path in ROOM.rglob("*.py") if "cri" not in path.parts[-2:-1]}
    readers = {name for name in found if _reads_it(ROOM / name)}
    assert sorted(readers - READERS.keys()) == [], "say here why it is no decision, or use time.monotonic"
