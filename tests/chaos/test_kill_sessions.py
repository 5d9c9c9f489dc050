"""Exec and attach sessions go on when their pod's shim is killed; the seed says when."""

import itertools
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import Node
from tests.terminal import terminal

SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))


@contextmanager
def killed(node: Node, pod: str, name: str) -> Iterator[list[int]]:
    """While inside, the pod's shim is killed again and again: the pids."""
    print(f"CRIBUS_SEED={SEED}")
    rng = random.Random(f"{SEED}-{name}")
    pids: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(rng.uniform(0.0, 0.3) + (1.0 if pids else 0.0)):  # younger ones are started more slowly
            try:
                pid = node.shim(pod)
            except OSError:  # not there yet
                continue
            os.kill(pid, signal.SIGKILL)
            pids.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield pids
    finally:
        over.set()
        killer.join()


def test_exec_passes_every_byte_both_ways(clean: Node) -> None:
    pod = clean.pod("bytes")
    container = clean.container(pod, "bytes", "sleep", "1000")
    data = b"".join(b"%d\n" % k for k in range(400_000))
    with killed(clean, pod, "bytes") as pids:
        for code in itertools.cycle((0, 3)):
            script = f"cat; echo over >&2; exit {code}"
            command = clean.argv("exec", "-i", container, "sh", "-c", script)
            done = subprocess.run(command, input=data, capture_output=True, timeout=100)
            assert done.stdout == data
            assert b"over" in done.stderr
            assert (done.returncode, b"exit code 3" in done.stderr) == ((0, False) if code == 0 else (1, True))
            if len(pids) > 2:
                break
    clean.crictl("rmp", "-f", pod)


def test_a_terminal_stays(clean: Node) -> None:
    pod = clean.pod("keys")
    container = clean.container(pod, "keys", "sleep", "1000")
    with terminal(clean.argv("exec", "-it", container, "sh")) as shown:
        shown.until("# ")
        with killed(clean, pod, "keys") as pids:
            for k in itertools.count():
                shown.type(f"echo is $(({k} + 1000))\n")
                shown.until(f"is {k + 1000}\r\n")
                if len(pids) > 2:
                    break
        shown.resize(91, 19)
        # A shell of its own is one job: between two of an interactive shell ^C goes to the one that is over.
        shown.type("sh -c 'while :; do stty size; sleep 0.1; done'\n")
        shown.until("19 91\r\n")
        shown.type("\x03")
        shown.until("# ")
        shown.type("exit 5\n")
        shown.until("exit code 5")
        assert shown.exited() != 0
    clean.crictl("rmp", "-f", pod)


def test_exec_sync_runs_once(clean: Node) -> None:
    pod = clean.pod("once")
    container = clean.container(pod, "once", "sleep", "1000")
    with killed(clean, pod, "once") as pids:
        for k in range(15):
            script = f"echo {k} >> /ran; sleep 0.2; echo answer {k}"
            assert clean.crictl("exec", "-s", container, "sh", "-c", script) == f"answer {k}"
    assert clean.crictl("exec", "-s", container, "cat", "/ran").split() == [str(k) for k in range(15)]
    assert len(pids) > 1
    clean.crictl("rmp", "-f", pod)


@pytest.mark.parametrize("tty", [False, True])
def test_an_attached_client_goes_on(clean: Node, tty: bool) -> None:
    name = f"attached-{tty}"
    pod = clean.pod(name)
    script = "while read x; do echo got $x; done; exit 6"
    container = clean.container(pod, name, "sh", "-c", script, stdin=True, stdin_once=not tty, tty=tty)
    with terminal(clean.argv("attach", "-i", *(["-t"] if tty else []), container)) as shown:
        shown.type("warm\n")
        shown.until("got warm")
        with killed(clean, pod, name) as pids:
            for k in itertools.count():
                shown.type(f"{k}\n")
                shown.until(f"got {k}\r\n")
                if len(pids) > 2:
                    break
        shown.type("\x04")
        shown.exited()
    assert clean.exited(container)["exitCode"] == 6
    got = [line for line in clean.log_lines(container) if line.startswith("got") and "warm" not in line]
    assert got == [f"got {j}" for j in range(k + 1)]
    clean.crictl("rmp", "-f", pod)
