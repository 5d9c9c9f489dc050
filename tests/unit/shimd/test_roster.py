import shutil
from pathlib import Path

from cribus.shimd.roster import Roster


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
