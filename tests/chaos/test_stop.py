"""SIGSTOP to each process of the node: it is noticed by its missing sign of life and replaced, while nothing
happens and in the middle of every operation, by real crictl. Two at once, and three.

Afterwards the container still runs, every line is in its log once and in order, the calls that were
under way succeed, by themselves or when they are repeated, and the API is whole again within two
seconds of the moment in which the hang could be noticed; the exit code is right, and nothing is left.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cribus import hung
from cribus.pulse import Page

from tests.chaos.recovery import Kill
from tests.chaos.scene import NOTICED, SEED, WRITER, Scene, Work, gone
from tests.harness import Node, until

TOGETHER = (
    ("nats", "shimd"),
    ("gateway", "images", "executor fork server"),
    ("manager", "executor"),
    ("supervisord", "shim"),
    ("guard", "shimd fork server", "images fork server"),
)
ALONE = ("nats", "images", "executor", "shimd", "manager", "gateway", "executor fork server", "supervisord", "shim")


@pytest.mark.parametrize("parts", TOGETHER, ids=" ".join)
def test_stop_while_idle(clean: Node, parts: tuple[str, ...]) -> None:
    scene = Scene(clean, f"still-{parts[0].replace(' ', '-')}")
    since = Kill(clean, f"stopped {'+'.join(parts)}", NOTICED)
    pids = scene.stop(parts)
    scene.replaced(pids, since)
    page = Page(str(clean.run_dir))
    for part in set(parts) - {"shim"}:
        name = part.split()[0]
        count, at, why = page.hangs(name)
        assert count >= 1, part
        assert time.time_ns() - at < 60e9
        assert "stopped by a signal" in why, part
        until(partial(_told, clean, name, at), 5, f"an event says that {name} was replaced")
    scene.prove()


def _told(node: Node, name: str, at: int) -> bool:
    told = [json.loads(line) for line in node.cribus("events", "--kind", "service_replaced").splitlines()]
    return any((one["id"], one["at"]) == (name, at) for one in told)


@pytest.mark.parametrize(
    "parts", [("keeper",), ("shim", "keeper"), ("shim", "shimd", "executor", "keeper")], ids=" ".join
)
def test_a_keeper_that_was_stopped_goes_on(clean: Node, parts: tuple[str, ...]) -> None:
    """Whoever else was stopped with it: what it holds nobody else may have."""
    scene = Scene(clean, "-".join(("held", *parts)))
    since = Kill(clean, f"stopped {'+'.join(parts)}", NOTICED)
    pids = scene.stop(parts)
    keeper = pids.pop("keeper")
    scene.replaced(pids, since)
    until(lambda: not hung.stopped(keeper), NOTICED + 30, "it goes on")
    scene.prove()


def test_those_that_were_forked_ahead_are_stopped(clean: Node) -> None:
    """Whoever needs one of them gets another."""
    scene = Scene(clean, "parked")
    parked = until(lambda: scene.victims.parked(), 10, "some wait")
    for pid in parked:
        os.kill(pid, signal.SIGSTOP)
    since = Kill(clean, "stopped children forked ahead", NOTICED)
    pod = clean.pod("unparked")
    container = clean.container(pod, "unparked", "sh", "-c", WRITER)
    scene.replaced(dict.fromkeys(map(str, parked), 0), since)
    for pid in parked:
        assert gone(pid)
    clean.crictl("exec", "-s", container, "true")
    clean.crictl("rmp", "-f", pod)
    scene.prove()


@pytest.mark.parametrize("part", ALONE)
def test_stop_in_the_middle(clean: Node, part: str) -> None:
    rng = random.Random(f"{SEED}-{part}")
    scene, work = Scene(clean, f"moving-{part.replace(' ', '-')}"), Work(clean)
    work.prepare()
    work.begin()
    signal.sigtimedwait([], rng.uniform(0.0, 0.15))
    since = Kill(clean, f"stopped {part}", NOTICED)
    pids = scene.stop((part,))
    scene.replaced(pids, since)
    work.finish()
    scene.prove()


@pytest.fixture(autouse=True)
def _nobody_stays_stopped(clean: Node) -> Iterator[None]:
    """What a failed test has left stopped would make every later one fail."""
    yield
    mark = f"CRIBUS_CONFIG={clean.config}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours and hung.stopped(int(folder.name)):
            os.kill(int(folder.name), signal.SIGCONT)
