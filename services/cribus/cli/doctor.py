"""Say what this host and node have, what they lack, and what to do about it. Ends with 1 when something is bad."""

import argparse
import sys

from cribus import config
from cribus.cli.health.facts import gather
from cribus.cli.health.judgments import BAD, OK, Judgment, judge
from cribus.cli.output.table import show

_COLOURS = {"ok": "\033[32m", "warn": "\033[33m", "bad": "\033[31m"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    found = judge(gather(settings), settings)
    if given.json:
        show([one._asdict() for one in found], (), as_json=True)
    else:
        print("\n".join(line(one, colour=sys.stdout.isatty()) for one in found))
        print(summary(found))
    return 1 if any(one.level == BAD for one in found) else 0


def line(one: Judgment, *, colour: bool = False) -> str:
    """`level  fact: meaning  → next command`."""
    level = f"{_COLOURS[one.level]}{one.level:<4}\033[0m" if colour else f"{one.level:<4}"
    return f"{level}  {one.fact}{': ' + one.meaning if one.meaning else ''}{'  → ' + one.next if one.next else ''}"


def summary(found: list[Judgment]) -> str:
    bad = sum(one.level == BAD for one in found)
    warned = sum(one.level not in (BAD, OK) for one in found)
    if bad:
        return f"\n{bad} of {len(found)} things must be mended before pods can run"
    return f"\nready for pods{f'; {warned} things could be better' if warned else ''}"
