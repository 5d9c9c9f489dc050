"""A shim's log: one line of JSON an event on standard error, without the logging package's megabyte."""

import os
import time

import msgspec


def note(event: str, **facts: object) -> None:
    """Say that something happened. Never fails: a full or closed log is no reason to die."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    line = {"time": f"{stamp}.{int(now % 1 * 1000):03d}Z", "event": event, "service": "shim", **facts}
    try:
        os.write(2, msgspec.json.encode(line) + b"\n")
    except OSError:
        return
