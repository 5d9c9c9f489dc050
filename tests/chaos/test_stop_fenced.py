"""What a process does that has a successor, because no kill could end it: nothing that anybody heeds.

First real ones, stopped in the middle of every operation, given up beside a successor, and let go on. Then what
such a one would say if it did not end itself: as an earlier generation, by hand, to everybody who serves.
"""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cribus import config, pulse
from cribus.api import executor, images, manager, shim, shimd
from cribus.api.cri.container import StopContainerRequest
from cribus.api.cri.image import ImageSpec, RemoveImageRequest
from cribus.api.verb import Message, Verb
from cribus.bus import client, credentials
from cribus.bus.connection import Connection
from cribus.errors import FailedPrecondition
from cribus.keeper import introduce
from cribus.linux import fds as descriptors
from cribus.pulse import FENCED, Own, Page

from tests import harness
from tests.chaos.faults import Faults
from tests.chaos.scene import NOTICED, SEED, Scene, Work, gone
from tests.chaos.watch import Watch
from tests.harness import IMAGE, PYTHON, Node, until

_SENDING = "manager.record.sending"
UNDYING = 3.0  # seconds until supervisord gives up one that it killed


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(tmp_path_factory.mktemp("faults") / "steps")


@pytest.fixture(scope="module")
def spared(tmp_path_factory: pytest.TempPathFactory, faults: Faults) -> Iterator[Node]:
    """A node whose services survive being killed for a hang, and can be halted at each step."""

    def before(one: Node) -> None:
        one.env.update(CRIBUS_SPARED="1")
        faults.laid_for(one)

    with harness.node(tmp_path_factory.mktemp("spared"), before=before) as one:
        yield one


@pytest.fixture
def empty(spared: Node) -> Iterator[Node]:
    yield spared
    spared.assert_clean()


def test_those_that_were_given_up_in_the_middle_go_on(empty: Node) -> None:
    rng = random.Random(SEED)
    work = Work(empty)
    work.prepare()
    scene = Scene(empty, "spared-busy")
    work.begin()
    signal.sigtimedwait([], rng.uniform(0.0, 0.15))
    pids = _given_up(scene, ("manager", "executor"))
    work.finish()
    _woken(scene, pids)


def test_those_that_were_given_up_while_idle_go_on(empty: Node) -> None:
    scene = Scene(empty, "spared-idle")
    _woken(scene, _given_up(scene, ("gateway", "images", "shimd")))


def test_a_record_that_was_about_to_be_sent_is_refused_by_the_bus(empty: Node, faults: Faults) -> None:
    """Stopped behind its last look, and not by a signal, whose end it would hear of before anything else: its message
    goes out whatever it learns then."""
    scene = Scene(empty, "spared-put")
    bus = Watch(config.load())
    page = Page(str(empty.run_dir))
    before = page.generation("manager")
    former: list[int] = []

    def shares(count: int) -> None:
        empty.crictl("update", "--cpu-share", str(count), scene.container)

    def mirrored(count: int) -> bool:
        return f'"cpu_shares":{count}'.encode() in bus.record(f"containers.{scene.container}")

    def replaced(pid: int) -> str:
        former.append(pid)
        assert mirrored(300), "it is not sent yet"
        until(partial(_replaced, page, "manager", before), NOTICED + UNDYING + 30, "another manager")
        until(partial(_works, empty), 30, "the node works beside it")
        shares(500)
        until(partial(mirrored, 500), 10, "the successor's record is in the KV")
        return ""

    try:
        shares(300)
        until(partial(mirrored, 300), 10, "the record is in the KV")
        with faults.halt(_SENDING, replaced) as struck:
            shares(400)
            assert struck.wait(90)
            until(partial(gone, former[0]), 10, "the former manager ends itself")
        assert mirrored(500)
        shares(600)  # and what it has sent did not lock its successor out
        until(partial(mirrored, 600), 10, "the next record is in the KV")
    finally:
        bus.close()
    scene.prove()


def _given_up(scene: Scene, parts: tuple[str, ...]) -> dict[str, int]:
    """Stop these until each has a successor beside it."""
    page = Page(str(scene.node.run_dir))
    before = {part: page.generation(part) for part in parts}
    pids = scene.stop(parts)
    for part in parts:
        until(partial(_replaced, page, part, before[part]), NOTICED + UNDYING + 30, f"{part} has a successor")
    until(partial(_works, scene.node), 30, "the node works beside them")
    assert not any(gone(pid) for pid in pids.values()), "they are only given up"
    return pids


def _woken(scene: Scene, pids: dict[str, int]) -> None:
    """Let them go on: they end, and nobody has noticed them."""
    node, page = scene.node, Page(str(scene.node.run_dir))
    pods, generations = node.json("pods", "-o", "json"), [page.generation(part) for part in pids]
    for pid in pids.values():
        os.kill(pid, signal.SIGCONT)
    for part, pid in pids.items():
        until(partial(gone, pid), 10, f"the former {part} ends itself")
    assert node.json("pods", "-o", "json") == pods
    assert [page.generation(part) for part in pids] == generations, "nobody was started once more"
    scene.prove()


def _replaced(page: Page, part: str, generation: int) -> bool:
    return page.generation(part) > generation and page.beat(part) > 0


def _works(node: Node) -> bool:
    return node.try_crictl("ps").returncode == 0


class Past(Own):
    """An earlier generation that goes on regardless."""

    def current(self) -> bool:
        return True


def _another(page: Page, program: str) -> int:
    """A generation that is not the present one."""
    return page.generation(program) - 1


class Ghost:
    """A process of the node that has a successor, speaking to everybody."""

    def __init__(self, node: Node, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CRIBUS_CONFIG", str(node.config))
        page = Page(str(node.run_dir))
        monkeypatch.setattr(pulse, "own", Past(page, program, _another(page, program)))
        self.program = program

    def ask(self, verb: Verb[Any, Any], request: Message, id: str = "") -> Any:
        async def asked() -> Any:
            connection = Connection(credentials.login(config.load(), self.program))
            await connection.open()
            try:
                return await client.call(connection, verb, request, (id, 10.0))
            finally:
                await connection.close()

        return asyncio.run(asked())


@pytest.fixture
def scene(clean: Node, request: pytest.FixtureRequest) -> Iterator[Scene]:
    one = Scene(clean, request.node.name.replace("_", "-"))
    yield one
    one.prove()


def test_requests_of_an_earlier_manager_are_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = Ghost(scene.node, "manager", monkeypatch)
    asked: list[tuple[Verb[Any, Any], Message, str]] = [
        (executor.KILL, executor.Kill(container=scene.container, signal=9), ""),
        (executor.DELETE, executor.Named(container=scene.container), ""),
        (executor.DELETE_POD, executor.DeletePod(pod=scene.pod), ""),
        (shimd.STOP_SHIM, shimd.StopShim(pod=scene.pod), ""),
        (images.REMOVE, RemoveImageRequest(image=ImageSpec(image=IMAGE)), ""),
        (shim.RELEASE, shim.Named(container=scene.container), scene.pod),
    ]
    for verb, request, id in asked:
        with pytest.raises(FailedPrecondition, match=r"generation .* of manager has a successor; nothing was done"):
            ghost.ask(verb, request, id)


def test_requests_of_an_earlier_gateway_are_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = Ghost(scene.node, "gateway", monkeypatch)
    with pytest.raises(FailedPrecondition, match="of gateway has a successor"):
        ghost.ask(manager.STOP_CONTAINER, StopContainerRequest(container_id=scene.container, timeout=0))
    with pytest.raises(FailedPrecondition, match="of gateway has a successor"):
        ghost.ask(shim.EXEC_SYNC, shim.ExecSync(container=scene.container, cmd=["true"]), scene.container)


def test_an_earlier_manager_has_nowhere_to_write_records_from(scene: Scene) -> None:
    """They appear by a rename out of a folder of its own, which its successor has taken away."""
    node, page = scene.node, Page(str(scene.node.run_dir))
    record = node.run_dir / "records" / f"containers.{scene.container}.json"
    before = page.generation("manager")
    folder = node.run_dir / "records" / f".manager.{before}"
    half = folder / "half"
    half.write_bytes(b"{}")  # it was stopped right before its rename
    os.kill(node.services()["manager"], signal.SIGKILL)
    until(lambda: _works(node) and _replaced(page, "manager", before), 30, "another manager")
    with pytest.raises(FileNotFoundError):
        half.rename(record)
    with pytest.raises(FileNotFoundError):
        record.rename(folder / "away")
    assert node.status(scene.container)["state"] == "CONTAINER_RUNNING"


def test_orders_of_an_earlier_executor_are_not_heard_by_keepers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    Ghost(scene.node, "executor", monkeypatch)
    folder = os.open(scene.node.run_dir / "containers" / scene.container, os.O_PATH)
    with descriptors.connect_at(folder, "keeper.sock", 5) as sock:
        introduce(sock)
        assert descriptors.recv(sock) == (b"", [])
    os.close(folder)
    scene.node.crictl("exec", "-s", scene.container, "true")


def test_a_second_one_by_hand_does_not_start(clean: Node) -> None:
    for service in ("manager", "executor", "shimd", "images"):
        done = harness.run(PYTHON, "-m", f"cribus.{service}", env=clean.env)
        assert done.returncode != 0
        assert f"{service} is run by the node's supervisord" in done.stderr


def test_an_earlier_generation_by_hand_ends_at_once(clean: Node) -> None:
    page = Page(str(clean.run_dir))
    for service in ("manager", "executor", "shimd", "images", "gateway"):
        before = str(_another(page, service))
        argv = [PYTHON, "-m", f"cribus.{service}"]
        began = time.monotonic()
        done = subprocess.run(argv, env={**clean.env, pulse.GENERATION: before}, capture_output=True, timeout=60)
        print(f"{service} ended after {time.monotonic() - began:.1f} s")
        assert done.returncode == FENCED, done.stderr
