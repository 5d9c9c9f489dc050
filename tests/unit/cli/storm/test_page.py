"""What people see."""

import pytest
from cribus.cli.storm import page, plan, proof
from cribus.cli.storm.evidence import Finding, Hit, Result
from cribus.cli.storm.storm import Wish

from tests.unit.cli.storm import made


def _hit(signal: str = "KILL", whole: float = 0.4, **recovered: float) -> Hit:
    victims = tuple(recovered)
    return Hit(plan.Strike(1, signal, victims, 0.0, 0.0), 1.0, dict.fromkeys(victims, 7), recovered, whole)


def _result(*findings: Finding, interrupted: bool = False) -> Result:
    hits = [_hit(shim=0.1), _hit(shim=0.3, manager=0.7, whole=0.8), _hit("TERM", gateway=0.2)]
    counts = {"lines": 1234, "exit codes": 5}
    return Result(
        7, 12.0, hits, 6, counts, {"ExecSync ABORTED": 2}, {"reset": 1, "5xx": 4}, [*findings], interrupted, ["a note"]
    )


def test_what_will_be_done_is_said_first() -> None:
    said = page.promise(Wish(7, 60.0, 100, 4, ["shim", "keeper", "manager"]), "vm", 3)
    assert "seed 7, until 100 processes were killed, at most 60 s" in said
    assert "kills the shims and the keepers of these pods, and manager." in said
    assert "3 other pods" in said
    assert "kills nothing of these pods, and nats." in page.promise(Wish(7, 60.0, 0, 4, ["nats"]), "vm", 1)


def test_recoveries() -> None:
    shim, manager, gateway, everything = page.recoveries(_result().hits)
    assert shim == {"process": "shim", "killed": 2, "told to end": 0, "stopped": 0, "p50": 0.2, "p99": 0.3, "max": 0.3}
    assert (manager["killed"], manager["max"]) == (1, 0.7)
    assert (gateway["killed"], gateway["told to end"]) == (0, 1)
    assert (everything["killed"], everything["told to end"], everything["max"]) == (3, 1, 0.8)
    assert page.recoveries([_hit("STOP", nats=4.0)])[0]["stopped"] == 1
    assert page.recoveries([]) == []


def test_spread_is_by_nearest_rank() -> None:
    assert page.spread([k / 1000 for k in range(1, 201)]) == {"p50": 0.101, "p99": 0.198, "max": 0.2}
    assert page.spread([0.5]) == {"p50": 0.5, "p99": 0.5, "max": 0.5}
    assert page.spread([]) == {}


def test_a_promise_that_was_kept() -> None:
    said = page.verdict(_result())
    assert "seed 7: 12 s, 4 kills, 6 pods\n" in said
    assert "ok     every line once and in order                  1,234 lines" in said
    assert "asked again: ExecSync ABORTED 2" in said
    assert "the registry failed: 5xx 4, reset 1" in said
    assert "a note" in said
    assert said.endswith("The promise was kept.")
    assert "WRONG" not in said


def test_a_promise_that_was_broken() -> None:
    many = [Finding(proof.LINES, f"finding {k}") for k in range(25)]
    said = page.verdict(_result(*many, Finding(proof.NODE, "service images is FATAL"), interrupted=True))
    assert "interrupted" in said
    assert "WRONG  every line once and in order                  25 findings" in said
    assert "finding 19" in said
    assert "finding 20" not in said
    assert "and 5 more" in said
    assert "service images is FATAL" in said
    assert said.endswith("26 findings. The same kills again: --seed 7")


def test_nothing_was_killed() -> None:
    result = _result()
    result.hits = []
    assert "nothing was killed" in page.verdict(result)


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    progress = page.Progress(quiet=False)
    progress.phase("blowing")
    progress.hit(_hit(shim=0.1))
    progress.lived(made.lived())
    progress.found(Finding(proof.LINES, "line 3 is missing"))
    progress.phase("proving")
    progress.close()
    first, found, last = capsys.readouterr().err.splitlines()
    assert "blowing" in first
    assert found == "lines: line 3 is missing"
    assert "1 kill " in last
    assert "1 pod " in last
    assert "0.40 s" in last


def test_no_progress_beside_json(capsys: pytest.CaptureFixture[str]) -> None:
    progress = page.Progress(quiet=True)
    progress.phase("blowing")
    progress.found(Finding(proof.LINES, "x"))
    progress.close()
    assert capsys.readouterr().err == ""
