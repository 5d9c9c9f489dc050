import json
import logging

import pytest
from cribus import log


@pytest.fixture(autouse=True)
def _restore() -> object:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_carries_the_ids_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("manager", node="n1")
    with log.ids(trace="t", pod="p"), log.ids(container="c", pod=""):
        logging.getLogger("x").warning("stopped", extra={"signal": 9})
        assert log.current("container") == "c"
    logging.getLogger("x").info("after")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert {"service": "manager", "node": "n1", "trace": "t", "pod": "p", "container": "c", "signal": 9}.items() <= (
        first.items()
    )
    assert first["event"] == "stopped"
    assert "pod" not in second


def test_an_exception_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("manager", node="n1")
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("x").exception("failed")
    [line] = capsys.readouterr().err.splitlines()
    assert "ValueError" in json.loads(line)["error"]
