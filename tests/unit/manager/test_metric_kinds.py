"""The table of metrics."""

from cribus.manager.metric_kinds import KINDS, NETWORK


def test_no_name_twice_and_each_has_help() -> None:
    names = [one.name for one in KINDS] + [name for name, _, _ in NETWORK]
    assert len(names) == len(set(names))
    assert all(name.startswith("container_") for name in names)
    assert all(one.help for one in KINDS)
