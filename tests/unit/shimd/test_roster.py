import shutil
import time
from pathlib import Path

from cribus.shimd.roster import Roster

from tests.harness import until


def test_who_should_have_a_shim(tmp_path: Path) -> None:
    roster = Roster(str(tmp_path))
    assert roster.wanted() == []
    for pod in ("b", "a", "b"):
        roster.want(pod)
    assert roster.wanted() == ["a", "b"]
    roster.drop("a")
    roster.drop("a")
    (tmp_path / "pods" / "other").mkdir()
    assert roster.wanted() == ["b"]
    shutil.rmtree(tmp_path / "pods" / "b")
    roster.drop("b")
    assert roster.wanted() == []


def test_which_containers_each_pods_shims_took(tmp_path: Path) -> None:
    roster = Roster(str(tmp_path))
    assert roster.taken() == {}
    for container, said in {
        "c1": '{"container":"c1","pod":"a"}',
        "c2": '{"container":"c2","pod":"b"}',
        "c3": '{"container":"c3","pod":"a"}',
        "spoilt": '{"container":',
    }.items():
        (tmp_path / "containers" / container).mkdir(parents=True)
        (tmp_path / "containers" / container / "take.json").write_text(said)
    (tmp_path / "containers" / "created").mkdir()
    found = roster.taken()
    assert {pod: sorted(containers) for pod, containers in found.items()} == {"a": ["c1", "c3"], "b": ["c2"]}


def _later(generation: int) -> None:
    """Nobody starts a thousand shims of one pod in a second."""
    until(lambda: time.monotonic() * 1000 > generation + 1, 5, "a moment has passed")


def test_each_shim_is_a_generation(tmp_path: Path) -> None:
    roster = Roster(str(tmp_path))
    found = [roster.want("a"), roster.want("a"), Roster(str(tmp_path)).want("a")]
    roster.drop("a")
    _later(found[-1])
    found.append(roster.want("a"))
    shutil.rmtree(tmp_path / "pods")
    _later(found[-1])
    found.append(roster.want("a"))
    assert found == sorted(set(found))


def test_an_order_of_a_version_that_counted_none(tmp_path: Path) -> None:
    roster = Roster(str(tmp_path))
    (tmp_path / "pods" / "a").mkdir(parents=True)
    (tmp_path / "pods" / "a" / "shim.json").write_text("{}")
    assert roster.wanted() == ["a"]
    assert roster.want("a") > 0
