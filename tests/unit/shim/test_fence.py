"""A shim that was stopped while its pod got another one ends when it goes on."""

import os
import signal
from pathlib import Path

import pytest
from cribus.pulse import FENCED, Page
from cribus.shim import fence
from cribus.shim.fence import Own

from tests.unit.shim.rig import Rig

POD = "ab" * 32


@pytest.mark.parametrize(
    ("text", "current"), [("{}", True), ('{"generation":3}', True), ('{"generation":4}', False), ("", True)]
)
def test_who_is_current(tmp_path: Path, text: str, current: bool) -> None:
    if text:
        (tmp_path / "shim.json").write_text(text)
    assert Own(Page(str(tmp_path)), str(tmp_path), 3).current() == current
    assert Own(Page(str(tmp_path)), str(tmp_path), 0).current()
    assert (fence.ordered(str(tmp_path)) is None) == (not text)


def test_one_that_was_replaced_ends_when_it_goes_on(rig: Rig) -> None:
    shim = rig.shim(POD, generation=1)
    shim.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, shim.pid, os.WSTOPPED)
    (rig.pod(POD) / "shim.json").write_text('{"generation":2}')
    shim.send_signal(signal.SIGCONT)
    assert shim.wait(10) == FENCED


def test_one_that_was_only_stopped_goes_on(rig: Rig) -> None:
    shim = rig.shim(POD, generation=1)
    shim.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, shim.pid, os.WSTOPPED)
    shim.send_signal(signal.SIGCONT)
    assert rig.shim_pid(POD) == shim.pid
    assert shim.poll() is None


@pytest.mark.parametrize("rubbish", [b"", b'{"gen', b"\xff\x00", b'{"generation":"x"}'])
def test_a_spoilt_order_is_one_of_no_generation(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / fence.ENTRY).write_bytes(rubbish)
    assert fence.ordered(str(tmp_path)) == 0
