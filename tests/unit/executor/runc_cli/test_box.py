import os
from pathlib import Path

import pytest
from cribus.errors import AlreadyExists, InvalidArgument, NotFound
from cribus.executor.runc_cli.box import Box, every
from cribus.linux import process

from tests.unit.executor.runc_cli.conftest import Make, NoCgroups


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a\nb", "\xe4"])
def test_ids_that_are_none(id: str) -> None:
    with pytest.raises(InvalidArgument):
        Box("/r", id)


def test_intent_and_state(make: Make, tmp_path: Path) -> None:
    box = make(annotations={"a": "b"}, linux={"cgroupsPath": "/x/y"})
    assert box.status() == "creating"
    assert box.known()["cgroup"] == "/x/y"
    with pytest.raises(AlreadyExists, match="container with given ID already exists"):
        make()
    state = box.state()
    assert (state["id"], state["status"], state["annotations"]) == ("c", "creating", {"a": "b"})
    assert state["rootfs"] == f"{tmp_path}/bundle/rootfs"
    assert [one.id for one in every(f"{tmp_path}/root")] == ["c"]
    box.remove()
    assert every(f"{tmp_path}/root") == every("/nowhere") == []
    with pytest.raises(NotFound, match="container does not exist"):
        box.state()


def test_the_kernels_word(make: Make, tree: NoCgroups) -> None:
    box = make(pid=os.getpid())
    assert box.status() == "running"
    tree.cold = True
    assert box.status() == "paused"
    fifo = os.open(f"{box.path}/start", os.O_RDWR)
    assert box.status() == "created"
    os.close(fifo)
    box.save({**box.known(), "started": process.start_time(os.getpid()) + 1})
    assert box.status() == "stopped"
    assert box.state()["pid"] == 0


def test_a_bundle_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="spec"):
        Box(str(tmp_path / "r"), "c").make(str(tmp_path), False)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument):
        Box(str(tmp_path / "r"), "c").make(str(tmp_path), False)
    assert every(str(tmp_path / "r")) == []
