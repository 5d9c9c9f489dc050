import sys

from cribus.shim import warm


def test_it_needs_no_bus_and_loads_nothing_more() -> None:
    before = set(sys.modules)
    warm.up()
    assert set(sys.modules) == before
