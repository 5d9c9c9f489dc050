"""How long a node needs to find its pods again after everything but keepers and containers was killed.

    python -m tests.bench.bench_adopt --pods 500 [--host-network] [--lose]

Prints the seconds from the start of `cribus up` until the lists are whole, until a command runs in the last
pod, and until every pod has its shim; and the CPU seconds of all processes by then. `--lose` deletes the run
directory and the records in between.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tests import harness
from tests.bench.client import Client, Pod, pb
from tests.bench.node import Cribus
from tests.harness import IMAGE, PYTHON

CALLERS = 8  # that make the pods
_APART = 0.03  # seconds between two questions: whoever asks all the time takes a part of the processors


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_adopt", description=__doc__)
    parser.add_argument("--pods", type=int, default=500, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--host-network", action="store_true", help="pods without a network of their own")
    parser.add_argument("--lose", action="store_true", help="delete the run directory and the KV in between")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="crbadopt") as base:
        side = Cribus(Path(base) / "side")
        side.start()
        try:
            archive = Path(base) / "busybox.tar"
            script = f"from cribus.images import starter; starter.build({str(archive)!r}, reference={IMAGE!r})"
            subprocess.run([PYTHON, "-c", script], check=True)
            side.node.cribus("load", str(archive))
            pods = made(Client(side, IMAGE), given)
            for _ in range(given.rounds):  # each finds what the one before has left
                kill_all(side)
                if given.lose:
                    subprocess.run(["rm", "-rf", str(side.node.run_dir)], stderr=subprocess.DEVNULL, check=False)
                    shutil.rmtree(side.node.root / "bus" / "jetstream")
                print(json.dumps(adopted(side, pods)), flush=True)
        finally:
            side.stop()
    return 0


def made(client: Client, given: argparse.Namespace) -> list[Pod]:
    pods = [Pod(client) for _ in range(given.pods)]
    for one in pods if given.host_network else []:
        one.config.linux.security_context.namespace_options.network = pb.NODE
        one.main.linux.security_context.namespace_options.network = pb.NODE
    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(Pod.up, pods))
    print(f"{len(pods)} pods made in {time.monotonic() - began:.1f} s", file=sys.stderr)
    client.close()
    return pods


def kill_all(side: Cribus) -> None:
    """The guard first, else it starts the others again; they die with supervisord."""
    supervisord = int((side.node.run_dir / "supervisor" / "supervisord.pid").read_text())
    pids = [int(Path(f"/proc/{supervisord}/stat").read_text().rpartition(")")[2].split()[1]), supervisord]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    harness.until(lambda: _killed(side), 30, "all but keepers end")


def _killed(side: Cribus) -> bool:
    """Whether nothing but keepers is left; shims are killed, of which one may just have been forked."""
    others = [pid for pid in side.processes() if _name(pid) != "keeper"]
    for pid in others:
        if _name(pid).startswith("shim"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return not others


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def adopted(side: Cribus, pods: list[Pod]) -> dict[str, float]:
    """Seconds until each is so."""
    before, began, wall = side.cpu(), time.monotonic(), time.time()
    up = subprocess.Popen([PYTHON, "-m", "cribus.cli", "up"], env=side.node.env, stdout=subprocess.DEVNULL)
    client = Client(side, IMAGE)
    found: dict[str, float] = {}

    def when(name: str, check: Any) -> None:
        end = time.monotonic() + 120
        while not _answered(check):
            assert time.monotonic() < end, name
            signal.sigtimedwait([], _APART)
        found[name] = round(time.monotonic() - began, 2)

    when("pods", lambda: len(client.call("ListPodSandbox", pb.ListPodSandboxRequest()).items) == len(pods))
    running = pb.ListContainersRequest(
        filter=pb.ContainerFilter(state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING))
    )
    when("containers", lambda: len(client.call("ListContainers", running).containers) == len(pods))
    found["lists CPU"] = round(side.cpu() - before, 2)  # to look costs some of it too
    pods[-1].client = client
    when("exec", lambda: pods[-1].exec() > 0)
    missing = [one.id for one in pods]
    when("shims", lambda: not _without(side, missing))
    found["shims CPU"] = round(side.cpu() - before, 2)
    up.wait()
    client.close()
    found["reconcile"] = _reconciled(side)
    found |= {f"{name} ready": round(at - wall, 2) for name, at in _ready(side, wall).items()}
    return found


def _answered(check: Any) -> bool:
    try:
        return bool(check())
    except grpc.RpcError:
        return False


def _without(side: Cribus, pods: list[str]) -> list[str]:
    """Those of which no shim can be found; each that is found is taken off, to be asked once only."""
    while pods and _listens(side, pods[-1]):
        pods.pop()
    return pods


def _listens(side: Cribus, pod: str) -> bool:
    try:
        return side.node.shim(pod) > 0
    except OSError:
        return False


def _ready(side: Cribus, since: float) -> dict[str, float]:
    """When each service said so in its log."""
    found = {}
    for service in ("images", "executor", "shimd", "manager", "gateway"):
        for line in (side.node.root / "log" / f"{service}.log").read_text().splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "ready" and said.get("service") == service:
                at = time.mktime(time.strptime(said["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
                found[service] = at + float(said["time"][19:-1])
    return {name: at for name, at in found.items() if at >= since - 0.01}


def _reconciled(side: Cribus) -> float:
    """Seconds in which the manager, when it last started, made records agree with what runs."""
    lines = (side.node.root / "log" / "manager.log").read_text().splitlines()
    said = [json.loads(line) for line in lines if '"records agree"' in line]
    return float(said[-1]["seconds"])


if __name__ == "__main__":
    sys.exit(main())
