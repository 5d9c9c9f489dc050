"""The last word on the error lane."""

import json

import pytest
from cribus.gateway.streaming import status


def test_from_v4_on_it_is_a_status() -> None:
    assert json.loads(status.ended(4, 0)) == {"metadata": {}, "status": "Success"}
    told = json.loads(status.ended(5, 3))
    assert (told["status"], told["reason"]) == ("Failure", "NonZeroExitCode")
    assert told["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert json.loads(status.failed(4, "why"))["message"] == "why"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_before_v4_it_is_text(version: int) -> None:
    assert status.ended(version, 0) == b""
    assert status.ended(version, 3) == b"command terminated with exit code 3"
    assert status.failed(version, "why") == b"why"
