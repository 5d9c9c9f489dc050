"""Nanocores from two samples."""

from cribus.manager.rates import Rates

S = 10**9


def test_a_rate_needs_two_samples() -> None:
    rates = Rates()
    assert rates.nano_cores("a", 0, 0) is None
    assert rates.nano_cores("a", 2 * S, S) == S // 2
    assert rates.nano_cores("a", 2 * S + 1000, S + 999) == S // 2  # too close: the last still holds
    assert rates.nano_cores("a", 3 * S, 2 * S) == S


def test_a_counter_that_went_back_begins_anew() -> None:
    rates = Rates()
    rates.nano_cores("a", 0, 5)
    assert rates.nano_cores("a", S, 1) is None


def test_what_is_gone_is_forgotten() -> None:
    rates = Rates()
    rates.nano_cores("a", 0, 5)
    rates.forget_all_but({"b"})
    assert not rates._last
