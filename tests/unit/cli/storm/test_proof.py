"""Each promise of the proof can be broken, and then it says so: one falsified piece of evidence at a time."""

from collections.abc import Callable

import pytest
from cribus.api import events
from cribus.cli.storm import plan, proof
from cribus.cli.storm.evidence import Command, Lived, Pulled, Ran, Told

from tests.unit.cli.storm import made
from tests.unit.cli.storm.made import CONTAINER, POD


@pytest.mark.parametrize("end", plan.ENDS)
def test_a_life_as_it_should_be(end: str) -> None:
    planned = made.container(end)
    lived = made.lived(planned)
    assert proof.of(lived) == []
    assert proof.wrong_events([lived], made.told(planned)) == []
    assert proof.strangers([lived], made.told(planned)) == []


def _said(*said: str) -> Callable[[Lived], None]:
    def change(lived: Lived) -> None:
        lived.ran[0].text = made.text(*said)

    return change


def _set(of: str, name: str, value: object) -> Callable[[Lived], None]:
    def change(lived: Lived) -> None:
        setattr(lived if of == "life" else lived.ran[0], name, value)

    return change


FOUR = made.lines(4)


@pytest.mark.parametrize(
    ("end", "falsify", "check"),
    [
        (plan.EXIT, _said("line 1", "line 2", "line 4", "bye 4"), proof.LINES),  # one is missing
        (
            plan.EXIT,
            _said("line 1", "line 2", "line 2", "line 3", "line 4", "bye 4"),
            proof.LINES,
        ),  # one is there twice
        (plan.EXIT, _said("line 1", "line 3", "line 2", "line 4", "bye 4"), proof.LINES),  # out of order
        (plan.EXIT, _said(*FOUR), proof.LINES),  # the last one is missing
        (plan.EXIT, _said(*FOUR[:3], "bye 4"), proof.LINES),  # the last but one is missing
        (plan.EXIT, _said(*FOUR, "bye 4", "bye 4"), proof.LINES),
        (plan.EXIT, _said(*made.lines(3), "bye 3"), proof.LINES),  # it ended before it had done what it shall
        (plan.EXIT, _said(*made.lines(5), "bye 5"), proof.LINES),
        (plan.EXIT, _said(), proof.LINES),
        (plan.TERM, _said(*made.lines(9)), proof.LINES),  # killed, where it was told to end
        (plan.TERM, _said(*made.lines(9), "bye 8"), proof.LINES),
        (plan.KILL, _said("line 1", "line 3", "line 4", "line 5"), proof.LINES),
        (plan.KILL, _said(*made.lines(3)), proof.LINES),  # four were seen before it was killed
        (plan.EXIT, _set("ran", "text", "2026 stdout P line 1\n"), proof.LINES),
        (plan.EXIT, _set("ran", "text", "li"), proof.LINES),
        (plan.EXIT, _set("ran", "code", 137), proof.CODES),
        (plan.EXIT, _set("ran", "code", None), proof.CODES),
        (plan.KILL, _set("ran", "code", 0), proof.CODES),
        (plan.EXIT, _set("ran", "commands", [Command(("storm-1-1", 5), ("storm-1-1", 0))]), proof.COMMANDS),
        (plan.EXIT, _set("ran", "commands", [Command(("storm-1-1", 5), ("", 5))]), proof.COMMANDS),
        (plan.EXIT, _said(plan.NOT_WHOLE, *FOUR, "bye 4"), proof.IMAGES),
        (plan.EXIT, _set("life", "pulled", Pulled("x:v1", "sha256:1", answered="sha256:2")), proof.IMAGES),
        (plan.EXIT, _set("life", "pulled", Pulled("x:v1", "sha256:1", answered="sha256:1", left=True)), proof.IMAGES),
        (plan.EXIT, _set("life", "over", False), proof.STUCK),
        (plan.EXIT, _set("life", "trouble", "StopContainer is stuck"), proof.STUCK),
    ],
)
def test_falsified(end: str, falsify: Callable[[Lived], None], check: str) -> None:
    lived = made.lived(made.container(end))
    falsify(lived)
    assert [one.check for one in proof.of(lived)] == [check]


def test_a_terminal_ends_its_lines_otherwise() -> None:
    lived = made.lived()
    lived.ran[0].text = lived.ran[0].text.replace("\n", "\r\n")
    assert proof.of(lived) == []


def test_of_a_life_that_was_cut_short_only_what_is_there_counts() -> None:
    lived = made.lived(made.container(plan.TERM))
    lived.trouble, lived.ran[0].code = "StopContainer is stuck", None
    lived.ran[0].text = made.text("line 1", "line 2")
    assert [one.check for one in proof.of(lived)] == [proof.STUCK]
    assert proof.wrong_events([lived], []) == []
    lived.ran[0].text = made.text("line 1", "line 3")
    assert [one.check for one in proof.of(lived)] == [proof.STUCK, proof.LINES]


def _without(kind: str) -> list[Told]:
    return [one for one in made.told() if one.kind != kind]


def _twice(kind: str) -> list[Told]:
    return [again for one in made.told() for again in [one] * (1 + (one.kind == kind))]


def _other(code: int, *, known: bool = True) -> list[Told]:
    told = made.told()
    told[4] = Told(events.CONTAINER_STOPPED, CONTAINER, POD, code, known)
    return told


LIVES = [kind for kind in dict.fromkeys(one.kind for one in made.told()) if kind != events.EXITED]


@pytest.mark.parametrize(
    "told",
    [
        *(_without(kind) for kind in LIVES),
        *(_twice(kind) for kind in LIVES),
        list(reversed(made.told())),
        _other(0),
        _other(3, known=False),
        [],
    ],
)
def test_falsified_events(told: list[Told]) -> None:
    found = proof.wrong_events([made.lived()], told)
    assert found
    assert {one.check for one in found} == {proof.EVENTS}


def test_a_container_that_was_never_started() -> None:
    lived = made.lived()
    lived.ran = [Ran(made.container(), id=CONTAINER)]
    assert proof.wrong_events([lived], [one for one in made.told() if one.kind not in LIVES[2:4]]) == []
    assert proof.wrong_events([lived], made.told()) != []


def test_what_was_made_for_a_client_that_had_gone_is_gone_whole() -> None:
    other = "c" * 64
    whole = [Told(events.CONTAINER_CREATED, other, POD), Told(events.CONTAINER_REMOVED, other, POD)]
    assert proof.strangers([made.lived()], made.told() + whole) == []
    (found,) = proof.strangers([made.lived()], made.told() + whole[:1])
    assert other[:13] in found.text


def test_every_check_has_its_words() -> None:
    checks = {proof.LINES, proof.CODES, proof.COMMANDS, proof.EVENTS, proof.IMAGES}
    assert set(proof.CHECKS) == checks | {proof.STUCK, proof.LEAKS, proof.NODE}
