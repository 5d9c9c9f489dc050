"""cribus and containerd, measured by one client in one run: `python -m tests.bench --help`.

Prints a Markdown table: medians, with the 95th percentile in (round) brackets, or the range in [square]
ones where there are few values. Both runtimes are up all the time; rounds alternate between them.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests import registry
from tests.bench import bench_density, bench_exec, bench_lifecycle, bench_log, bench_pull, peer
from tests.bench.client import Client
from tests.bench.images import images
from tests.bench.node import Cribus
from tests.bench.report import Report
from tests.bench.side import Side
from tests.registry import Registry

SECTIONS = ("pod", "churn", "exec", "density", "idle", "pull", "log")
SIDES = ("containerd", "cribus")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by comma (%(default)s)")
    parser.add_argument("--side", choices=SIDES, action="append", help="run this side only")
    parser.add_argument("--rounds", type=int, default=5, help="of pod, churn and exec (%(default)s)")
    parser.add_argument("--heavy-rounds", type=int, default=3, help="of pull and log (%(default)s)")
    parser.add_argument("--idle-seconds", type=float, default=60, help="(%(default)s)")
    parser.add_argument(
        "--peer", type=Path, default=peer.programs(), help="its programs: built if missing (%(default)s)"
    )
    parser.add_argument("--base", type=Path, default=Path("/var/tmp"), help="where the data lies while it runs")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",")
    unknown = set(chosen.only) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return chosen


class Bench:
    """One run over the sides that were asked for."""

    def __init__(self, chosen: argparse.Namespace, clients: list[Client], folder: Path) -> None:
        self.chosen, self.clients, self.folder = chosen, clients, folder
        self.report = Report()

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def rounds(self) -> None:
        light = {"pod": bench_lifecycle.pod, "churn": bench_lifecycle.churn, "exec": bench_exec.execs}
        for section, work in light.items():
            for number in range(self.chosen.rounds if section in self.chosen.only else 0):
                for client in self.clients:
                    self.say(f"{section}, round {number + 1}, {client.side.name}")
                    work(client, self.report)

    def density(self) -> None:
        if not {"density", "idle"} & set(self.chosen.only):
            return
        self.say(f"{bench_density.PODS} pods on every side")
        crowds = [bench_density.Crowd(client, self.report) for client in self.clients]
        if "density" in self.chosen.only:
            for crowd in crowds:
                crowd.memory()
                crowd.lists()
        if "idle" in self.chosen.only:
            self.say("idle")
            bench_density.idle(crowds, self.report, self.chosen.idle_seconds)
        for crowd in crowds:
            crowd.down()

    def pulls(self, store: Registry) -> None:
        if "pull" not in self.chosen.only:
            return
        self.say("building images to pull")
        pulls = bench_pull.Pulls(store, self.folder)
        for number in range(self.chosen.heavy_rounds):
            names = pulls.push(number)
            for client in self.clients:
                self.say(f"pull, round {number + 1}, {client.side.name}")
                os.sync()
                bench_pull.pull(client, self.report, names)

    def logs(self) -> None:
        if "log" not in self.chosen.only:
            return
        lines = bench_log.source(self.folder)
        for number in range(self.chosen.heavy_rounds):
            for client in self.clients:
                self.say(f"log, round {number + 1}, {client.side.name}")
                bench_log.log(client, self.report, lines)


def enter(stack: ExitStack, side: Side, image: str) -> Client:
    """Start a side; it is emptied and stopped when the stack unwinds."""
    stack.callback(side.stop)
    side.start()
    client = Client(side, image)
    stack.callback(client.close)
    stack.callback(client.clear)
    client.pull(image)
    return client


def machine(clients: list[Client]) -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    versions = ", ".join(client.version() for client in clients)
    return (
        f"{versions}; {os.cpu_count()} cores ({model}), kernel {platform.release()}, Python {platform.python_version()}"
    )


def main() -> None:
    chosen = arguments()
    wanted = [name for name in SIDES if name in (chosen.side or SIDES)]
    if "containerd" in wanted:
        peer.install(chosen.peer)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crbb", dir=chosen.base)))
        store = stack.enter_context(registry.serve(folder / "registry"))
        image = images(store, folder)
        clients = []
        for name in wanted:
            base = folder / name
            side: Side = Cribus(base) if name == "cribus" else peer.Containerd(base, chosen.peer, store.host)
            clients.append(enter(stack, side, image))
        bench = Bench(chosen, clients, folder)
        bench.rounds()
        bench.density()
        bench.pulls(store)
        bench.logs()
        print(f"{machine(clients)}\n\n{bench.report.table(wanted)}")


if __name__ == "__main__":
    main()
