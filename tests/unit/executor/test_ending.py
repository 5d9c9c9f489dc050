import asyncio
import os

import pytest
from cribus.errors import DeadlineExceeded
from cribus.executor import ending
from cribus.executor.node import Node
from cribus.linux import namespaces, process


def sleeper() -> int:
    pid, pidfd = namespaces.clone3()
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "30"])
    os.close(pidfd)
    return pid


def test_kills_that_very_process() -> None:
    pid = sleeper()
    started = process.start_time(pid)
    assert asyncio.run(ending.kill(pid, started + 1, 0.1))  # another one: it is gone already
    assert process.is_running(pid, started)
    assert not asyncio.run(ending.died(pid, 0.01))
    assert asyncio.run(ending.kill(pid, started, 5))
    os.waitpid(pid, 0)
    assert asyncio.run(ending.died(pid, 0))
    assert asyncio.run(ending.kill(0, 0))


def test_a_cgroup_is_emptied_or_the_reason_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(ending.empty_cgroup(node, "/x"))
    pid = sleeper()
    left = [pid]
    monkeypatch.setattr(type(node.tree), "pids", lambda *_: list(left))
    monkeypatch.setattr(type(node.tree), "kill", lambda *_: None, raising=False)
    monkeypatch.setattr(ending, "DEADLINE", 0.05)
    with pytest.raises(DeadlineExceeded, match=f"process {pid} was killed but does not end"):
        asyncio.run(ending.empty_cgroup(node, "/x"))

    def kill(*_: object) -> None:
        os.kill(pid, 9)
        left.clear()

    monkeypatch.setattr(type(node.tree), "kill", kill)
    asyncio.run(ending.empty_cgroup(node, "/x"))
    os.waitpid(pid, 0)
