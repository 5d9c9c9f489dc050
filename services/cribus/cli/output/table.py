"""Tables as aligned columns, or the same rows as JSON for programs."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

SHORT_ID = 13  # characters of an id that a table shows; crictl shows as many


def show(rows: Sequence[dict[str, Any]], columns: Iterable[str], *, as_json: bool) -> None:
    """Print `rows`: as JSON whole, as a table only the columns named."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
    else:
        print("\n".join(lines([{name: str(row[name]) for name in columns} for row in rows], list(columns))))


def lines(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> list[str]:
    """The heading and a line a row, each column as wide as its widest cell."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) if rows else len(name) for name in columns}
    heading = {name: name.upper() for name in columns}
    return ["   ".join(row[name].ljust(widths[name]) for name in columns).rstrip() for row in (heading, *rows)]


def short(id: str) -> str:
    """An id as a table shows it."""
    return id.removeprefix("sha256:")[:SHORT_ID]


def age(since: int, now: int | None = None) -> str:
    """How long ago that was, in its largest unit. Times in ns since the epoch."""
    seconds = max(0, ((now or time.time_ns()) - since) // 10**9)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def size(count: int) -> str:
    """Bytes for people, in units of 1000."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def many(count: int, what: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def complain(sentence: str) -> None:
    """One sentence on standard error."""
    print(f"cribus: {sentence}", file=sys.stderr)
