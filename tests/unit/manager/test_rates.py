"""Nanocores from two samples."""

from cribus.manager.rates import Rates

S = 10**9


def test_the_first_rate_is_since_birth_and_each_later_since_the_one_before() -> None:
    rates = Rates()
    assert rates.nano_cores("a", 10 * S, 3 * S, born=4 * S) == S // 2
    assert rates.nano_cores("a", 12 * S, 5 * S, born=4 * S) == S
    assert rates.nano_cores("a", 12 * S + 1000, 5 * S + 999, born=4 * S) == S  # too close: the last still holds
    assert rates.nano_cores("a", 14 * S, 5 * S, born=4 * S) == 0


def test_a_counter_that_went_back_begins_anew() -> None:
    rates = Rates()
    rates.nano_cores("a", 2 * S, 5 * S, born=0)
    assert rates.nano_cores("a", 4 * S, S, born=2 * S) == S // 2


def test_one_that_was_born_this_very_moment() -> None:
    assert Rates().nano_cores("a", S, 0, born=S) == 0


def test_what_is_gone_is_forgotten() -> None:
    rates = Rates()
    rates.nano_cores("a", 1, 5, born=0)
    rates.forget_all_but({"b"})
    assert not rates._last


def test_a_clock_that_is_set_back_stops_no_rate() -> None:
    rates = Rates()
    rates.nano_cores("a", 100 * S, 10 * S, 90 * S)
    assert rates.nano_cores("a", 50 * S, 11 * S, 90 * S) == S
    assert rates.nano_cores("a", 52 * S, 12 * S, 90 * S) == S // 2
