import json
from pathlib import Path

import pytest
from cribus.executor.runc_cli import log


def test_lines_of_runcs_form(tmp_path: Path) -> None:
    general = {"log": str(tmp_path / "log"), "log-format": "json"}
    log.tell(general, "error", 'no "a"')
    log.warn(general, ["one", "two"])
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(one["level"], one["msg"]) for one in told] == [("error", 'no "a"'), ("warning", "one"), ("warning", "two")]
    log.tell({"log": str(tmp_path / "text")}, "error", "no")
    assert (tmp_path / "text").read_text().endswith('level=error msg="no"\n')


def test_without_a_log_warnings_are_seen(capfd: pytest.CaptureFixture[str]) -> None:
    log.tell({}, "error", "said by whoever ends")
    log.warn({}, ["one"])
    assert capfd.readouterr().err == "warning: one\n"
