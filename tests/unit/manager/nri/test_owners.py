"""Who set what."""

import pytest
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.owners import Field, Owners


def test_two_that_set_the_same_contradict_each_other() -> None:
    owners = Owners()
    owners.claim("00-a", "c", Field.ENV, "X")
    owners.claim("00-a", "c", Field.ENV, "X")
    owners.claim("10-b", "c", Field.ENV, "Y")
    owners.claim("10-b", "d", Field.ENV, "X")
    with pytest.raises(FailedPrecondition, match=r"00-a and 10-b both set env X of container c"):
        owners.claim("10-b", "c", Field.ENV, "X")


def test_who_took_it_away_may_set_it_and_nobody_else() -> None:
    owners = Owners()
    owners.claim("00-a", "c", Field.ARGS)
    owners.clear("10-b", "c", Field.ARGS)
    with pytest.raises(FailedPrecondition, match="10-b and 20-c both set args"):
        owners.claim("20-c", "c", Field.ARGS)
    owners.claim("10-b", "c", Field.ARGS)


def test_removing_what_nobody_set_owns_nothing() -> None:
    owners = Owners()
    owners.clear("00-a", "c", Field.MOUNTS, "/x")
    owners.claim("10-b", "c", Field.MOUNTS, "/x")


@pytest.mark.parametrize(
    ("field", "noun"),
    [
        (Field.MEMORY, "memory.limit"),
        (Field.CPU + 5, "cpu.cpus"),
        (Field.RDT + 1, "rdt.schemata"),
        (29, "oom_score_adj"),
    ],
)
def test_fields_have_names(field: int, noun: str) -> None:
    owners = Owners()
    owners.claim("00-a", "c", field)
    with pytest.raises(FailedPrecondition, match=noun):
        owners.claim("10-b", "c", field)


def test_as_it_is_told() -> None:
    owners = Owners()
    owners.claim("00-a", "c", Field.CPU)
    owners.claim("00-a", "c", Field.ENV, "X")
    owners.share("00-a", "c", Field.HOOKS)
    owners.share("10-b", "c", Field.HOOKS)
    assert owners.told() == m.OwningPlugins(
        owners={
            "c": m.FieldOwners(
                simple={16: "00-a", 3: "00-a,10-b"}, compound={6: m.CompoundFieldOwners(owners={"X": "00-a"})}
            )
        }
    )
