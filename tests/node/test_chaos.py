"""`cribus chaos` on a node on which somebody else's pod runs: the promise is kept, the pod does not notice, and
what is falsified meanwhile is found. $CRIBUS_SEED chooses the storm; it is printed."""

import json
import os
import random
import signal
import subprocess
from typing import Any

from tests.harness import PYTHON, Node, until

SEED = os.environ.get("CRIBUS_SEED", str(random.randrange(1 << 30)))
COUNTS = "i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done"
_LEAST = 10  # kills that must have been made, however slow the machine


def _storm(node: Node, *args: str) -> "subprocess.Popen[str]":
    print(f"CRIBUS_SEED={SEED}")
    argv = [PYTHON, "-m", "cribus.cli", "chaos", "--seed", SEED, *args]
    return subprocess.Popen(argv, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ended(storm: "subprocess.Popen[str]") -> dict[str, Any]:
    said, complained = storm.communicate(timeout=110)
    print(complained)
    found: dict[str, Any] = json.loads(said)
    print(json.dumps({name: found[name] for name in ("counts", "again", "findings", "recovery", "notes")}, indent=1))
    return found


def test_a_storm(clean: Node) -> None:
    pod = clean.pod("other")
    other = clean.container(pod, "other", "sh", "-c", COUNTS)
    storm = _storm(clean, "--json", "--kills", "50", "--for", "60s")
    result = _ended(storm)
    assert (storm.returncode, result["findings"]) == (0, [])
    assert result["seed"] == int(SEED)
    kills = [kind for hit in result["hits"] for kind in hit["pids"]]
    assert len(kills) >= _LEAST
    assert all(result["counts"][one] for one in ("lines", "exit codes", "commands", "events", "images"))
    assert sum(result["faults"].values()) >= result["counts"]["images"]  # of its registry
    assert result["notes"] == []
    lines = clean.log_lines(other)
    assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
    assert clean.status(other)["state"] == "CONTAINER_RUNNING"
    assert [one["id"] for one in clean.json("pods", "-o", "json")["items"]] == [pod]
    assert [one["id"] for one in clean.json("images", "-o", "json")["images"] if "chaos" in str(one)] == []
    assert os.listdir(clean.root / "images" / "partial") == []
    assert list((clean.root / "log").glob("chaos-*")) == []
    clean.crictl("rmp", "-f", pod)


def test_what_is_falsified_is_found_and_an_interrupt_brings_the_verdict(clean: Node) -> None:
    storm = _storm(clean, "--yes", "--for", "10m", "--victims", "images")
    log = until(lambda: [*(clean.root / "log").glob("chaos-*/*-0/0.log")], 30, "the log of its first container")[0]
    until(lambda: b" line 1\n" in log.read_bytes(), 30, "its first line")
    with log.open("r+b") as file:
        file.seek(log.read_bytes().index(b"line 1\n"))
        file.write(b"line 9")
    first = min(clean.json("ps", "-o", "json")["containers"], key=lambda one: int(one["createdAt"]))["id"]
    os.kill(int(clean.json("inspect", first)["info"]["pid"]), signal.SIGKILL)
    clean.exited(first)
    storm.send_signal(signal.SIGINT)
    said, complained = storm.communicate(timeout=90)
    print(said, complained)
    assert storm.returncode == 1
    assert "interrupted" in said
    assert "WRONG  every line once and in order" in said
    assert "WRONG  every exit code" in said
    assert f"--seed {SEED}" in said
    assert clean.json("pods", "-o", "json")["items"] == []
    assert log.exists()  # for whoever looks into it
