"""When a log's loss is told, and how much of it."""

import errno
import os
from collections.abc import Iterator

import pytest
from cribus.api.events import Event
from cribus.shim import pump
from cribus.shim.crilog import LogFile
from cribus.shim.gap import Gap
from cribus.shim.pump import Pump, Tools


@pytest.fixture
def pumps() -> Iterator[list[Pump]]:
    fds: list[int] = []
    made = []
    for name in ("stdout", "stderr"):
        held = (*os.pipe(), pump.new_stage(), pump.new_page())
        fds += held
        made.append(Pump(name, Tools(), (held[0], held[2], held[3])))
    yield made
    for fd in fds:
        os.close(fd)


def test_its_beginning_and_its_size_are_told_once(pumps: list[Pump]) -> None:
    told: list[Event] = []
    gap = Gap("c", "p", told.append)
    log = LogFile(os.memfd_create("log"))
    out, err = pumps
    gap.after(out, log)
    assert not told
    log.refused = errno.ENOSPC
    for one, lost in ((out, 10), (out, 30), (err, 5), (err, 5)):
        one.lost = lost
        gap.after(one, log)
    assert [(one.kind, one.id, one.pod, one.detail) for one in told] == [
        ("log_lost", "c", "p", {"lost_bytes": "10", "cause": "No space left on device"})
    ]
    log.refused = 0
    gap.after(out, log)
    gap.after(err, log)
    gap.over()
    assert [one.detail for one in told[1:]] == [{"lost_bytes": "35", "cause": ""}]


def test_a_container_that_ends_meanwhile(pumps: list[Pump]) -> None:
    told: list[Event] = []
    gap = Gap("c", "p", told.append)
    log = LogFile(os.memfd_create("log"))
    log.refused, pumps[0].lost = errno.EROFS, 7
    gap.after(pumps[0], log)
    gap.over()
    assert [one.detail["lost_bytes"] for one in told] == ["7", "7"]
    gap.after(pumps[0], None)
    assert len(told) == 2
