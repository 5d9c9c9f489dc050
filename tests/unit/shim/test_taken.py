"""Containers in a shim's care, with a real keeper; above all: nothing is lost or doubled when it is killed."""

import asyncio
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cribus.api import events, shim
from cribus.bus import service
from cribus.errors import Aborted, FailedPrecondition, Unavailable

from tests.harness import until
from tests.unit.shim.rig import Rig

POD, CONTAINER, OTHER = "a" * 64, "c" * 64, "d" * 64
LINE = re.compile(rb"(\S+) (stdout|stderr) ([FP]) (.*)")

# Numbered lines of every length on both streams. It goes on as it is told to, so that kills meet all phases.
WRITER = """
import os, sys
n, seed = int(sys.argv[1]), int(sys.argv[2])
told = os.open(sys.argv[3], os.O_RDONLY)
state = seed
for k in range(n):
    state = (state * 1103515245 + 12345) % (1 << 31)
    size = (state >> 8) % 200 if (state >> 4) % 40 else (state >> 8) % 60000
    for fd in (1, 2):
        data = b"%d " % k + b"x" * size + b"\\n"
        while data:
            data = data[os.write(fd, data):]
    if k % 1500 == 0:
        os.read(told, 1)
"""


def expected(count: int, seed: int) -> bytes:
    out, state = [], seed
    for k in range(count):
        state = (state * 1103515245 + 12345) % (1 << 31)
        size = (state >> 8) % 200 if (state >> 4) % 40 else (state >> 8) % 60000
        out.append(b"%d " % k + b"x" * size + b"\n")
    return b"".join(out)


def logged(path: Path) -> dict[bytes, bytes]:
    """What each stream's bytes were, and a check that every line is well formed and stamps go forward."""
    found: dict[bytes, list[bytes]] = {b"stdout": [], b"stderr": []}
    last = {b"stdout": b"", b"stderr": b""}
    for line in path.read_bytes().split(b"\n")[:-1]:
        match = LINE.fullmatch(line)
        assert match, line[:100]
        assert match[1] >= last[match[2]]
        last[match[2]] = match[1]
        found[match[2]].append(match[4] + (b"\n" if match[3] == b"F" else b""))
    return {name: b"".join(parts) for name, parts in found.items()}


def ask(rig: Rig, verb: Any, request: Any, id: str) -> Any:
    async def main() -> Any:
        async with service.connect(rig.settings, "manager") as bus:
            await bus.events.ensure()
            return await bus.call(verb, request, id=id)

    return asyncio.run(main())


def news(rig: Rig, pid: int = 0) -> events.Event:
    """The first exit event of the node, or of this process."""

    async def main() -> events.Event:
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(20):
            async for seen in bus.follow(events.EXITED, since=0):
                if pid in (0, seen.event.pid):
                    return seen.event
        raise AssertionError

    return asyncio.run(main())


@pytest.mark.timeout(180)
def test_fifty_kills_lose_and_double_nothing(rig: Rig) -> None:
    seed = int(os.environ.get("SEED", "0")) or time.time_ns() % (1 << 31)
    print("seed", seed)
    dice = random.Random(seed)
    count = 100000
    log = rig.logs / "c.log"
    fifo = rig.base / "told"
    os.mkfifo(fifo)
    one = rig.container(CONTAINER, [sys.executable, "-c", WRITER, str(count), str(seed), str(fifo)])
    tell = os.open(fifo, os.O_WRONLY)
    process = rig.shim(POD)
    ask(rig, shim.TAKE, shim.Take(container=CONTAINER, pod=POD, log_path=str(log)), POD)
    alive = 0
    for _ in range(50):
        size = log.stat().st_size
        os.write(tell, b"1")
        until(lambda size=size: log.stat().st_size > size or one.dead(0), 20, "the log grows")  # type: ignore[misc]
        alive += not one.dead(dice.random() * 0.03)
        rig.end(process)
        process = rig.shim(POD, wait=False)
    os.close(tell)
    until(lambda: one.dead(0.1), 60, "the writer ends")
    assert alive > 25, f"the writer saw only {alive} kills"
    assert news(rig).exit_code == 0
    got = logged(log)
    want = expected(count, seed)
    assert len(got[b"stdout"]) == len(want)
    digests = {hashlib.sha256(got[name]).hexdigest() for name in (b"stdout", b"stderr")}
    assert digests == {hashlib.sha256(want).hexdigest()}


def take(rig: Rig, log: Path | None = None, **more: Any) -> None:
    wanted = shim.Take(container=CONTAINER, pod=POD, log_path=str(log) if log else "", **more)
    ask(rig, shim.TAKE, wanted, POD)


def test_a_log_reopened_under_a_flood_loses_nothing(rig: Rig) -> None:
    log = rig.logs / "c.log"
    one = rig.container(CONTAINER, ["sh", "-c", "seq 1 3000000"])
    rig.shim(POD)

    async def main() -> int:
        renamed = 0
        async with service.connect(rig.settings, "manager") as bus:
            await bus.events.ensure()
            await bus.call(shim.TAKE, shim.Take(container=CONTAINER, pod=POD, log_path=str(log)), id=POD)
            while not one.dead(0):
                log.rename(rig.logs / f"c.{renamed}")
                renamed += 1
                try:
                    await bus.call(shim.REOPEN_LOG, shim.Named(container=CONTAINER), id=CONTAINER)
                except FailedPrecondition:  # it has just ended
                    break
        return renamed

    renamed = asyncio.run(main())
    assert renamed > 2
    news(rig)
    parts = [rig.logs / f"c.{k}" for k in range(renamed)] + [log]
    assert all(part.read_bytes()[-1:] in (b"\n", b"") for part in parts if part.exists())
    text = b"".join(logged(part)[b"stdout"] for part in parts if part.exists())
    assert text == b"".join(b"%d\n" % k for k in range(1, 3000001))


def test_take_is_idempotent_and_release_forgets(rig: Rig) -> None:
    one = rig.container(CONTAINER, ["sh", "-c", "echo a; exec sleep 1000"])
    rig.shim(POD)
    take(rig, rig.logs / "c.log")
    take(rig, rig.logs / "c.log")
    one.kill()
    assert news(rig).exit_code == 137
    ask(rig, shim.RELEASE, shim.Named(container=CONTAINER), POD)
    ask(rig, shim.RELEASE, shim.Named(container=CONTAINER), POD)
    assert not (one.folder / "take.json").exists()
    assert os.listdir(rig.run / "pods" / POD / "exits") == []
    assert logged(rig.logs / "c.log")[b"stdout"] == b"a\n"
    with pytest.raises(Unavailable):
        ask(rig, shim.REOPEN_LOG, shim.Named(container=CONTAINER), CONTAINER)


@pytest.mark.parametrize("successor", [False, True])
def test_an_end_before_the_program_could_run_is_told_to_nobody(rig: Rig, successor: bool) -> None:
    early = rig.container(CONTAINER, ["sleep", "1000"])
    (early.folder / "state.json").write_text('{"cgroup": ""}')
    late = rig.container(OTHER, ["sleep", "1000"])
    (late.folder / "state.json").write_text('{"cgroup": ""}')
    (late.folder / shim.GOING).write_text("")
    process = rig.shim(POD)
    for id in (CONTAINER, OTHER):
        ask(rig, shim.TAKE, shim.Take(container=id, pod=POD, marked=True), POD)
    if successor:
        rig.end(process)
    early.kill()
    assert early.dead()
    if successor:
        rig.shim(POD)
    late.kill()
    first = news(rig)
    assert (first.id, first.exit_code) == (OTHER, 137)
    assert not (rig.run / "pods" / POD / "exits" / f"{CONTAINER}.json").exists()


@pytest.mark.parametrize(("short", "named"), [(False, True), (True, True), (False, False)])
def test_a_start_that_was_made_again_without_us(rig: Rig, short: bool, named: bool) -> None:
    """Of the first try nobody could tell a shim to let go: there was none just then. The second one may be over
    before it is taken. A manager of an earlier version does not name the process."""
    log = rig.logs / "c.log"
    first = rig.container(CONTAINER, ["sh", "-c", "echo first; exec sleep 1000"])
    rig.shim(POD)
    take(rig, log, marked=True, pid=first.pid if named else 0)
    until(lambda: b"first" in log.read_bytes(), 10, "it is in the log")
    first.kill()
    assert first.dead()
    rig.end(first.keeper)
    shutil.rmtree(first.folder)
    second = rig.container(CONTAINER, ["sh", "-c", "echo second; exec sleep 1000"])
    (second.folder / shim.GOING).write_text(str(second.pid))
    until(lambda: b"sleep" in Path(f"/proc/{second.pid}/cmdline").read_bytes(), 10, "it has written")
    if short:
        second.kill(signal.SIGTERM)
        assert second.dead()
    for _ in range(2):
        take(rig, log, marked=True, pid=second.pid if named else 0)
    until(lambda: b"second" in log.read_bytes(), 10, "it is in the log")
    with pytest.raises(Aborted, match="made again"):
        take(rig, log, marked=True, pid=first.pid)
    if not short:
        second.kill(signal.SIGTERM)
    seen = news(rig, second.pid)
    assert (seen.id, seen.exit_code) == (CONTAINER, 143)
    ask(rig, shim.RELEASE, shim.Named(container=CONTAINER), POD)


def test_take_of_what_is_not_there(rig: Rig) -> None:
    rig.shim(POD)
    with pytest.raises(FailedPrecondition, match="create"):
        take(rig)


def test_without_its_keeper_a_container_is_served_to_its_end(rig: Rig) -> None:
    one = rig.container(CONTAINER, ["sh", "-c", "read x; echo after; exit 9"], stdin=True)
    rig.shim(POD)
    take(rig, rig.logs / "c.log")
    rig.end(one.keeper)
    os.kill(one.pid, 0)
    one.kill(15)
    event = news(rig)
    assert (event.exit_code, event.exit_known) == (143, True)


def test_news_waits_for_the_bus_and_is_told_once(rig: Rig) -> None:
    one = rig.container(CONTAINER, ["sleep", "1000"])
    process = rig.shim(POD)
    take(rig)
    assert rig.nats
    rig.end(rig.nats)
    one.kill()
    exits = rig.run / "pods" / POD / "exits"
    until(lambda: os.listdir(exits), 5, "the exit is kept")
    rig.end(process)
    process = rig.shim(POD, wait=False)
    rig.start_nats()
    first = news(rig)
    until(lambda: not os.listdir(exits), 10, "the exit was acknowledged")
    rig.end(process)
    rig.shim(POD)
    assert first.exit_code == 137

    async def count() -> int:
        async with service.connect(rig.settings, "manager") as bus:
            found = await bus.connection.nats.jetstream().stream_info("cribus_unit_events")
            return int(found.state.messages)

    assert asyncio.run(count()) == 1


def test_what_could_not_be_taken_leaves_no_descriptor_here(rig: Rig) -> None:
    one = rig.container(CONTAINER, ["sleep", "1000"])
    process = rig.shim(POD)
    (rig.logs / "folder").mkdir(parents=True)
    before: list[str] = []
    for _ in range(3):
        with pytest.raises(FailedPrecondition, match="Is a directory"):
            take(rig, rig.logs / "folder")
        after = os.listdir(f"/proc/{process.pid}/fd")
        assert len(after) == len(before or after)
        before = after
    take(rig, rig.logs / "c.log")
    one.kill()
    assert news(rig).exit_code == 137
