"""What people see of a storm: what it will do, how it goes, and the verdict."""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from cribus.cli.output.table import lines, many
from cribus.cli.storm import proof
from cribus.cli.storm.evidence import Finding, Hit, Lived, Result
from cribus.cli.storm.plan import LABEL, NAMESPACE, POD_PARTS
from cribus.cli.storm.storm import Wish

_EVERY = 10.0  # seconds from one line of progress to the next, where there is no terminal
_MOST = 20  # findings that are printed
_STRUCK = {"KILL": "killed", "TERM": "told to end", "STOP": "stopped"}  # what a signal is to a process
_COUNTED = {
    proof.LINES: "lines",
    proof.CODES: "exit codes",
    proof.COMMANDS: "commands",
    proof.EVENTS: "events",
    proof.IMAGES: "images",
}


def promise(wish: Wish, node: str, others: int) -> str:
    """What will be done, before it is."""
    services = [one for one in wish.kinds if one not in POD_PARTS]
    own = [f"the {one}s" for one in wish.kinds if one in POD_PARTS]
    much = f"until {wish.kills} processes were killed, at most " if wish.kills else "for "
    kills = f"It kills {' and '.join(own) or 'nothing'} of these pods"
    rows = [
        f"A storm on node {node}, seed {wish.seed}, {much}{wish.seconds:g} s.",
        f"It makes pods, {wish.pods} at a time: namespace {NAMESPACE}, label {LABEL}={wish.seed}.",
        "Some run an image that they pull from a registry of the storm's own, on loopback, which fails at random.",
        "It removes them all at the end. " + kills + (f", and {', '.join(services)}." if services else "."),
        f"It touches no other pod. {many(others, 'other pod')} on this node will run on, but calls to the node may",
        "take a second or two, or fail with UNAVAILABLE and have to be made again, as long as it lasts.",
    ]
    return "\n".join(rows)


class Progress:
    """On standard error: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._phase = ""
        self._began = self._said = time.monotonic()
        self._hits: list[Hit] = []
        self._pods = self._findings = 0

    def phase(self, text: str) -> None:
        self._phase = text
        self._say(now=True)

    def lived(self, lived: Lived) -> None:
        self._pods += 1
        self._say()

    def hit(self, hit: Hit) -> None:
        self._hits.append(hit)
        self._say()

    def found(self, finding: Finding) -> None:
        self._findings += 1
        if not self._quiet:
            print(f"{self._clear()}{finding.check}: {finding.text}", file=sys.stderr)

    def close(self) -> None:
        if self._live and not self._quiet:
            print(self._clear(), end="", file=sys.stderr, flush=True)

    def _clear(self) -> str:
        return "\r\x1b[K" if self._live else ""

    def _say(self, *, now: bool = False) -> None:
        at = time.monotonic()
        if self._quiet or not (self._live or now or at - self._said >= _EVERY):
            return
        self._said = at
        kills = sum(len(one.pids) for one in self._hits)
        line = f"{_clock(at - self._began)}  {self._phase:<8} {many(kills, 'kill'):>11} {many(self._pods, 'pod'):>11}"
        if self._hits:
            wholes = [one.whole for one in self._hits]
            line += f"   whole again after {statistics.median(wholes):.2f} s, at most {max(wholes):.2f} s"
        end = "" if self._live else "\n"
        print(f"{self._clear()}{line}", end=end, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def recoveries(hits: Iterable[Hit]) -> list[dict[str, Any]]:
    """For each kind of process, and for all: how many, and seconds until the calls that need it worked again."""
    struck: dict[str, Counter[str]] = {signal: Counter() for signal in _STRUCK}
    took: dict[str, list[float]] = {}
    wholes = []
    for hit in hits:
        for kind in hit.pids:
            struck[hit.plan.signal][kind] += 1
            if kind in hit.recovered:
                took.setdefault(kind, []).append(hit.recovered[kind])
        wholes.append(hit.whole)
    kinds = sorted({kind for one in struck.values() for kind in one}, key=lambda kind: (-struck["KILL"][kind], kind))
    rows = [
        {
            "process": kind,
            **{_STRUCK[signal]: one[kind] for signal, one in struck.items()},
            **spread(took.get(kind, [])),
        }
        for kind in kinds
    ]
    sums = {_STRUCK[signal]: one.total() for signal, one in struck.items()}
    return [*rows, {"process": "all: every call", **sums, **spread(wholes)}] if rows else []


def spread(values: list[float]) -> dict[str, float]:
    """p50, p99 and the most, of seconds."""
    if not values:
        return {}
    ordered = sorted(values)
    nearest = ordered[min(len(ordered) - 1, -(-len(ordered) * 99 // 100) - 1)]  # nearest rank
    return {"p50": round(statistics.median(ordered), 3), "p99": round(nearest, 3), "max": round(ordered[-1], 3)}


def verdict(result: Result) -> str:
    """The page at the end."""
    columns = ("process", *_STRUCK.values(), "p50", "p99", "max")
    rows = [{name: _cell(row.get(name, "")) for name in columns} for row in recoveries(result.hits)]
    parts = [
        f"seed {result.seed}: {result.seconds:g} s, {many(sum(len(one.pids) for one in result.hits), 'kill')},"
        f" {many(result.lives, 'pod')}" + (", interrupted" if result.interrupted else ""),
        "",
        *(lines(rows, columns) if rows else ["nothing was killed"]),
        "(p50, p99 and max: seconds until the calls that need the process worked again)",
        "",
        *_checks(result),
    ]
    if result.faults:
        parts += ["", f"the registry failed: {_listed(result.faults)}"]
    if result.again:
        parts += ["", f"asked again: {_listed(result.again)}"]
    parts += result.notes
    parts += ["", _last(result)]
    return "\n".join(parts)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda one: -one[1]))


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value == 0 else str(value)


def _checks(result: Result) -> list[str]:
    said = []
    for check, text in proof.CHECKS.items():
        wrong = [one for one in result.findings if one.check == check]
        counted = result.counts.get(_COUNTED.get(check, ""), 0)
        much = f"{counted:,} {_COUNTED[check]}" if check in _COUNTED else ""
        said.append(
            f"{'WRONG' if wrong else 'ok':<6} {text:<45} {many(len(wrong), 'finding') if wrong else much}".rstrip()
        )
        said += [f"         {one.text}" for one in wrong[:_MOST]]
        if len(wrong) > _MOST:
            said.append(f"         and {len(wrong) - _MOST} more; --json has all")
    return said


def _last(result: Result) -> str:
    if not result.findings:
        return "The promise was kept."
    return (
        f"The promise was broken: {many(len(result.findings), 'finding')}. The same kills again: --seed {result.seed}"
    )
