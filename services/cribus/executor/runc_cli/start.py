"""start: past the barrier."""

import os

from cribus import errors
from cribus.executor.runc_cli import control, forks, hosthooks
from cribus.executor.runc_cli.box import Box


def start(box: Box) -> int:
    """Let the program run; back when it does. Raises FailedPrecondition, or what init could not do."""
    status = box.status()
    if status != "created":
        raise errors.FailedPrecondition(f"cannot start a container that is {status}")
    sync = os.open(f"{box.path}/sync", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fd = os.open(f"{box.path}/start", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(fd, b"s")
        os.close(fd)
        forks.said(sync, b"\n")
    finally:
        os.close(sync)
    try:
        hosthooks.run(box, ("poststart",), "running")
    except errors.CribusError:
        control.end(box)
        raise
    return 0
