"""What is struck, and when the node counts as recovered."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cribus.cli.storm import plan, strikes, victims
from cribus.cli.storm.evidence import Hit
from cribus.cli.storm.strikes import EXEC, IMAGES, LIST, Striker
from cribus.cli.storm.victims import Own, Process
from cribus.config import Settings
from cribus.errors import CribusError, DeadlineExceeded, NotFound, Unavailable

FIRST, SECOND = Own("p1", "c1"), Own("p2", "c2")


class World:
    """Processes that only sleep; `errors` are raised by calls, `asked` is (method, container)."""

    def __init__(self) -> None:
        self.children: dict[tuple[str, Own], subprocess.Popen[bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.errors: dict[str, CribusError] = {}
        self.shims = 0

    def there(self, kind: str, own: Own = FIRST) -> None:
        self.children[kind, own] = subprocess.Popen(["sleep", "1000"])

    def find(self, _: Settings, kind: str, own: Own) -> Process | None:
        child = self.children.get((kind, own)) or (self.children.get((kind, FIRST)) if kind not in POD else None)
        return Process(child.pid, os.pidfd_open(child.pid)) if child else None

    async def ask(self, method: str, *_: float, **fields: Any) -> None:
        container = str(fields.get("container_id", ""))
        self.asked.append((method, container))
        if container in self.errors or method in self.errors:
            raise self.errors.get(container) or self.errors[method]

    async def call(self, *_: Any, **__: Any) -> None:
        self.shims += 1
        if self.shims == 1:
            raise Unavailable("not yet")

    def strike(self, *kinds: str, which: float = 0.0, signal: str = "KILL") -> Hit:
        striker = Striker(Settings(), self, self, lambda: [FIRST, SECOND])  # type: ignore[arg-type]
        return asyncio.run(striker.strike(plan.Strike(1, signal, kinds, which, 0.0), 0.0))


POD = plan.POD_PARTS


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World()

    async def replaced(*_: object) -> None:
        return None

    monkeypatch.setattr(victims, "find", one.find)
    monkeypatch.setattr(victims, "successor", replaced)
    yield one
    for child in one.children.values():
        child.kill()
        child.wait()


def test_the_struck_die_and_every_kind_of_call_is_made(world: World) -> None:
    world.there("manager")
    world.there("images fork server")
    hit = world.strike("manager", "images fork server")
    assert hit.pids == {kind: child.pid for (kind, _), child in world.children.items()}
    assert {child.wait(10) for child in world.children.values()} == {-9}
    assert sorted(world.asked) == [(EXEC, "c1"), (IMAGES, ""), (LIST, "")]
    assert world.shims == 2
    assert hit.trouble == ""
    assert set(hit.recovered) == {"manager", "images fork server"}
    assert 0 < max(hit.recovered.values()) <= hit.whole


def test_of_pods_that_live_chance_chooses_one(world: World) -> None:
    world.there("shim", SECOND)
    world.there("shim", FIRST)
    hit = world.strike("shim", which=0.9)
    assert hit.pids == {"shim": world.children["shim", SECOND].pid}
    assert (EXEC, "c2") in world.asked
    assert world.children["shim", FIRST].poll() is None


def test_one_that_has_just_gone_is_looked_for_where_there_always_is_one(world: World) -> None:
    world.there("keeper", FIRST)
    assert world.strike("keeper", which=0.9).pids == {"keeper": world.children["keeper", FIRST].pid}


def test_a_container_that_ended_meanwhile_is_an_answer(world: World) -> None:
    world.there("shim", SECOND)
    world.errors["c2"] = NotFound("no such container")
    assert world.strike("shim", which=0.9).trouble == ""


def test_a_keeper_that_was_stopped_is_not_replaced_but_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def told_to(one: Process) -> None:
        os.kill(one.pid, signal.SIGCONT)

    monkeypatch.setattr(victims, "moves", told_to)
    world.there("keeper")
    assert world.strike("keeper", signal="STOP").trouble == ""
    assert world.children["keeper", FIRST].poll() is None


def test_a_service_that_was_stopped_must_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strikes, "PATIENCE", 0.05)
    world.there("images")
    assert "does not end" in world.strike("images", signal="STOP").trouble


@pytest.mark.parametrize("stuck", [LIST, IMAGES, EXEC])
def test_a_node_that_does_not_recover_is_said(world: World, stuck: str) -> None:
    world.there("gateway")
    world.errors[stuck] = DeadlineExceeded(f"{stuck} is stuck")
    assert world.strike("gateway").trouble == f"KILL to gateway: {stuck} is stuck"


def test_a_service_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strikes, "PATIENCE", 0.05)
    assert "there is no shimd" in world.strike("shimd").trouble
