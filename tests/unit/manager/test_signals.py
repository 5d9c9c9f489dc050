"""Signals by every name that they have."""

import signal

import pytest
from cribus.api.cri.values import Signal
from cribus.errors import InvalidArgument
from cribus.manager.signals import as_cri, name, number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("9", 9),
        ("SIGRTMIN+3", int(signal.SIGRTMIN) + 3),
        ("RTMAX-2", int(signal.SIGRTMAX) - 2),
        ("SIGIOT", 6),
    ],
)
def test_numbers(text: str, expected: int) -> None:
    assert number(text) == expected


@pytest.mark.parametrize("text", ["SIGNOPE", "0", "99", "SIGRTMIN+99", ""])
def test_no_such_signal(text: str) -> None:
    with pytest.raises(InvalidArgument):
        number(text)


def test_configuration_then_image_then_default() -> None:
    assert name(Signal.SIGNAL_SIGUSR1, "SIGQUIT") == "SIGUSR1"
    assert name(Signal.SIGNAL_RUNTIME_DEFAULT, "SIGQUIT") == "SIGQUIT"
    assert name(Signal.SIGNAL_RUNTIME_DEFAULT, "") == "SIGTERM"
    with pytest.raises(InvalidArgument):
        name(Signal.SIGNAL_RUNTIME_DEFAULT, "SIGNOPE")


def test_every_signal_of_cri_exists() -> None:
    for one in Signal:
        assert number(name(one, "")) > 0
    assert as_cri("SIGRTMIN+3") is Signal.SIGNAL_SIGRTMINPLUS3
    assert as_cri("15") is Signal.SIGNAL_SIGTERM
