"""The same seed, the same storm; and what may happen in one."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from cribus.cli.storm import plan

KINDS = list(plan.WEIGHTS)
SOME = range(1, 2000)


def test_a_seed_says_everything_whatever_was_asked_before() -> None:
    forwards = [plan.life(7, k) for k in range(50)] + [plan.strike(7, k, KINDS) for k in range(50)]
    backwards = [plan.life(7, k) for k in reversed(range(50))] + [plan.strike(7, k, KINDS) for k in reversed(range(50))]
    assert forwards == backwards[49::-1] + backwards[:49:-1]
    assert forwards[:50] != [plan.life(8, k) for k in range(50)]


def test_everything_that_can_happen_happens() -> None:
    lives = [plan.life(1, k) for k in SOME]
    containers = [one for life in lives for one in life.containers]
    assert {one.end for one in containers} == set(plan.ENDS)
    assert {deed.kind for one in containers for deed in one.deeds} == {plan.EXEC, plan.ROTATE, plan.ATTACH}
    assert {one.tty for one in containers} == {True, False}
    assert {len(life.containers) for life in lives} == {1, 2}
    assert {method for life in lives for method in life.hasty} == {*plan._IMPATIENT, "PullImage"}
    strikes = [plan.strike(1, k, KINDS) for k in SOME]
    assert {kind for one in strikes for kind in one.victims} == set(KINDS)
    assert {(one.signal, len(one.victims)) for one in strikes} >= {("KILL", 1), ("KILL", 2), ("TERM", 1), ("STOP", 1)}


def test_some_lives_pull_their_image_and_its_registry_fails() -> None:
    lives = [plan.life(1, k) for k in SOME]
    pulls = [one.pull for one in lives if one.pull]
    assert lives[0].pull  # even the shortest storm has one
    assert len(pulls) > len(lives) // 4
    assert all(pull.faults for pull in pulls)
    rows = [faults for pull in pulls for faults in pull.faults.values()]
    assert {one.kind for row in rows for one in row} == {plan.RESET, plan.CUT, plan.BUSY, plan.DOWN}
    assert {one.status for row in rows for one in row} == {0, 429, 500, 502, 503, 504}
    assert max(len(row) for row in rows) > 5  # longer than the node asks by itself
    assert {part for pull in pulls for part in pull.faults} == {plan.MANIFEST, plan.CONFIG, "0", "1", "2"}
    assert all([one.kind for one in row].count(plan.BUSY) < 5 for row in rows)


def test_what_no_storm_may_do() -> None:
    for one in (plan.strike(3, k, KINDS) for k in SOME):
        assert not set(plan.POD_PARTS) <= set(one.victims)
        assert one.signal != "TERM" or set(one.victims) <= set(plan._GENTLE)
        assert one.signal != "STOP" or len(one.victims) == 1
        assert len(set(one.victims)) == len(one.victims)
        assert 0 <= one.which < 1
    assert {plan.strike(3, k, ["shim"]).victims for k in SOME} == {("shim",)}


def test_an_image_that_is_not_whole_is_told_by_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SUMS", str(tmp_path / "sums"))
    (tmp_path / "data").write_bytes(b"x")
    (tmp_path / "sums").write_text(f"{hashlib.sha256(b'x').hexdigest()}  {tmp_path}/data\n")
    container = plan.Container(plan.EXIT, 9, 1, 200, False, ())

    def said() -> str:
        argv = ["busybox", "sh", "-c", plan.script(container, pulled=True)]
        return subprocess.run(argv, capture_output=True, text=True).stdout

    assert said() == "line 1\nbye 1\n"
    (tmp_path / "data").write_bytes(b"y")
    assert said() == f"{plan.NOT_WHOLE}\nline 1\nbye 1\n"
    (tmp_path / "sums").unlink()
    assert said().startswith(plan.NOT_WHOLE)


@pytest.mark.parametrize("end", [plan.EXIT, plan.TERM, plan.KILL])
def test_the_script_does_what_the_plan_says(end: str) -> None:
    container = plan.Container(end, 9 if end != plan.KILL else plan.KILLED, 5, 200, False, ())
    argv = ["busybox", "sh", "-c", plan.script(container)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        said = [shell.stdout.readline() for _ in range(5)]
        if end != plan.EXIT:
            shell.terminate()
        if end == plan.KILL:
            said += [shell.stdout.readline() for _ in range(5)]  # it does not care
            shell.kill()
        said += shell.stdout.readlines()
    count = sum(line.startswith("line ") for line in said)
    assert said[:count] == [f"line {k}\n" for k in range(1, count + 1)]
    assert said[count:] == ([] if end == plan.KILL else [f"bye {count}\n"])
    assert shell.returncode == (-9 if end == plan.KILL else 9)
    assert count == 5 if end == plan.EXIT else count >= 5
