import json
import os

import pytest
from cribus.shim.note import note


def test_one_line_of_json(capfd: pytest.CaptureFixture[str]) -> None:
    note("happened", pod="p", count=2)
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["pod"], line["count"], line["service"]) == ("happened", "p", 2, "shim")


def test_a_closed_log_is_no_reason_to_die() -> None:
    pid = os.fork()
    if pid == 0:
        os.close(2)
        note("unheard")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
