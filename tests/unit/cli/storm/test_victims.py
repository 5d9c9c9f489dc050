"""The right process, and only that one: found below a real supervisord, killed by its descriptor."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.cli.storm import plan, victims
from cribus.cli.storm.victims import Own, Process
from cribus.cli.supervisor import configuration
from cribus.config import Bus, Settings
from cribus.errors import DeadlineExceeded
from cribus.linux import process

from tests.harness import until
from tests.unit.cli.supervisor.conftest import Supervised, supervised

__all__ = ["supervised"]
OWN = Own("a" * 64, "b" * 64)


@pytest.fixture
def node(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> Supervised:
    """Two services whose command lines are those of real ones; the executor has a fork server below it."""
    forked = Path(supervised.settings.root) / "forkserver"
    shutil.copy("/bin/sleep", forked)
    work = {"executor": f"setpriv --pdeathsig KILL {forked} 1000", "manager": "setpriv --pdeathsig KILL sleep 1000"}
    monkeypatch.setattr(configuration, "PYTHON_SERVICES", tuple(work))
    monkeypatch.setattr(configuration, "_command", lambda _, name: f"sh -c '{work[name]}; :' -m cribus.{name}")
    supervised.conf.write_text(configuration.text(supervised.settings))
    supervised.guard()
    supervised.all_run()
    return supervised


def _found(node: Supervised, kind: str) -> Process:
    found: Process = until(lambda: victims.find(node.settings, kind, OWN), 10, f"there is a {kind}")
    return found


def _kill(node: Supervised, kind: str, name: str = "KILL") -> int:
    """Kill it and wait for its successor: whose pid."""
    before = _found(node, kind)
    victims.strike(before, name)

    async def gone() -> None:
        await victims.gone(before, 10)
        async with asyncio.timeout(10):
            await victims.successor(node.settings, kind, before.pid, OWN)

    asyncio.run(gone())
    before.close()
    after = _found(node, kind)
    after.close()
    assert after.pid != before.pid
    return after.pid


def test_services_are_found_and_killed(node: Supervised) -> None:
    others = node.pids()
    assert _kill(node, "manager") == until(lambda: node.pids()["manager"], 10, "it is there")
    assert node.pids()["executor"] == others["executor"]
    _kill(node, "manager", "TERM")
    forked = _found(node, "executor fork server")
    forked.close()
    assert victims.read(forked.pid, "comm") == b"forkserver\n"
    assert forked.pid in victims.children(node.pids()["executor"])
    _kill(node, "supervisord")
    assert victims.find(node.settings, "shimd", OWN) is None


def test_what_can_be_killed_where() -> None:
    assert victims.kinds(Settings()) == list(plan.WEIGHTS)
    assert "nats" not in victims.kinds(Settings(bus=Bus(url="nats://elsewhere")))
    assert victims.kinds(Settings(), "manager, shim") == ["shim", "manager"]
    with pytest.raises(KeyError, match="init"):
        victims.kinds(Settings(), "manager,init")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Settings]:
    """A node in whose run directory this very process listens as a pod's shim."""
    settings = Settings(run=str(tmp_path), root=str(tmp_path))
    folder = tmp_path / "pods" / OWN.pod
    folder.mkdir(parents=True)
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        os.chdir(folder)
        sock.bind("shim.sock")
        os.chdir(here)
        sock.listen()
        name = Path("/proc/self/comm").read_text().strip()
        yield settings
        process.set_name(name)


def test_who_listens_for_a_pod_must_be_a_shim(listening: Settings) -> None:
    assert victims.find(listening, "shim", OWN) is None
    process.set_name(f"shim:{OWN.pod[:10]}")
    found = victims.find(listening, "shim", OWN)
    assert found is not None
    assert found.pid == os.getpid()
    found.close()
    assert victims.find(listening, "shim", Own("c" * 64, "d" * 64)) is None
    assert victims.find(listening, "keeper", OWN) is None


def test_the_place_of_a_pod_that_went_needs_nobody(tmp_path: Path) -> None:
    settings = Settings(run=str(tmp_path))
    pod, bundle = tmp_path / "pods" / OWN.pod, tmp_path / "containers" / OWN.container
    assert [victims.place(settings, kind, OWN) for kind in plan.POD_PARTS] == [False, False]
    pod.mkdir(parents=True)
    bundle.mkdir(parents=True)
    (pod / "shim.json").touch()
    assert [victims.place(settings, kind, OWN) for kind in plan.POD_PARTS] == [True, True]
    (pod / "shim.json").unlink()
    (bundle / "exit.json").touch()
    assert [victims.place(settings, kind, OWN) for kind in plan.POD_PARTS] == [False, False]
    asyncio.run(victims.successor(settings, "shim", 7, OWN))


def test_one_that_does_not_end() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        one = Process(child.pid, os.pidfd_open(child.pid))
        with pytest.raises(DeadlineExceeded, match=f"process {child.pid} does not end"):
            asyncio.run(victims.gone(one, 0.01))
        victims.strike(one, "KILL")
        asyncio.run(victims.gone(one, 10))
        child.wait()
        victims.strike(one, "KILL")  # it is reaped: nobody else can have its descriptor
        one.close()


def test_one_that_was_stopped_and_goes_on() -> None:
    async def scenario(child: int, one: Process) -> None:
        victims.strike(one, "STOP")
        until(lambda: victims.read(child, "stat").rpartition(b")")[2].split()[0] == b"T", 10, "it is stopped")
        moving = asyncio.create_task(victims.moves(one))
        done, _ = await asyncio.wait({moving}, timeout=0.1)
        assert not done
        os.kill(child, signal.SIGCONT)
        await asyncio.wait_for(moving, 10)
        victims.strike(one, "KILL")
        await victims.gone(one, 10)
        await victims.moves(one)

    with subprocess.Popen(["sleep", "1000"]) as child:
        one = Process(child.pid, os.pidfd_open(child.pid))
        asyncio.run(scenario(child.pid, one))
        one.close()
