"""What a shim and its keeper that were killed together had going: everybody is rid of it."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Node, until


def _commands(node: Node, container: str) -> list[str]:
    """Of every process that has the container's PID namespace."""
    init = node.json("inspect", container)["info"]["pid"]
    own = os.stat(f"/proc/{init}/ns/pid").st_ino
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(folder / "ns" / "pid").st_ino == own:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("synchronous", [True, False])
def test_the_process_of_an_exec_ends_when_nobody_holds_it_any_more(clean: Node, synchronous: bool) -> None:
    pod = clean.pod(f"left-{synchronous}")
    container = clean.container(pod, "left", "sleep", "1000")
    how = ["-s"] if synchronous else []
    done: list[Any] = []
    asking = threading.Thread(
        target=lambda: done.append(clean.try_crictl("exec", *how, container, "sh", "-c", "sleep 777 & sleep 777"))
    )
    asking.start()
    until(lambda: _commands(clean, container).count("sleep 777") == 2, 10, "it runs")
    shim = clean.shim(pod)
    os.kill(shim, signal.SIGSTOP)  # it may not put another keeper in the place of this one
    for pid in (clean.keeper(container), shim):
        os.kill(pid, signal.SIGKILL)
    until(lambda: _commands(clean, container).count("sleep 777") == 0, 5, "it has ended")
    asking.join(60)
    assert done[0].returncode != 0
    assert clean.status(container)["state"] == "CONTAINER_RUNNING"
    clean.crictl("rmp", "-f", pod)


def test_a_pod_without_keeper_and_shim_is_stopped(clean: Node) -> None:
    pod = clean.pod("twice-hit")
    container = clean.container(pod, "hit", "sleep", "1000")
    os.kill(clean.keeper(container), signal.SIGKILL)
    first = clean.shim(pod)
    os.kill(first, signal.SIGKILL)
    clean.crictl("stopp", pod)
    assert clean.status(container)["state"] == "CONTAINER_EXITED"
    clean.crictl("rmp", pod)
