"""Which lanes and channels an exec has."""

import pytest
from cribus.api import shim
from cribus.bus import streams
from cribus.gateway.streaming.exec import outputs, wanted


@pytest.mark.parametrize(
    ("asked", "tty", "lanes", "channels"),
    [
        ({"stdin": True}, False, {"stdin", "stdout", "stderr"}, [streams.STDOUT, streams.STDERR]),
        ({"stdin": True}, True, {"stdin", "stdout", "resize"}, [streams.STDOUT]),
        ({"stderr": False}, False, {"stdout"}, [streams.STDOUT]),
        ({"stdin": True, "stdout": False, "stderr": False}, False, {"stdin"}, []),
    ],
)
def test_lanes(asked: dict[str, bool], tty: bool, lanes: set[str], channels: list[int]) -> None:
    request = shim.OpenExec(container="c", stream="", cmd=["x"], tty=tty, **asked)
    assert wanted(request, tty) == lanes
    assert outputs(request, tty) == channels
