import os
from pathlib import Path

import pytest
from cribus.errors import Aborted, FailedPrecondition
from cribus.shim import keepers
from cribus.shim.keepers import Locker

from tests.unit.shim.rig import Rig


def test_get_put_and_a_keeper_that_dies(rig: Rig) -> None:
    one = rig.container("c" * 64, ["sleep", "1000"], stdin=True)
    keeper = keepers.connect(str(one.folder))
    assert {"pidfd", "stdin", "stdout", "stderr"} <= set(keeper.get())
    read, write = os.pipe()
    keeper.put("mine", write)
    os.close(write)
    other = keepers.connect(str(one.folder))
    copy = other.get()["mine"]
    other.close()
    os.write(copy, b"x")
    assert os.read(read, 9) == b"x"
    rig.end(one.keeper)
    with pytest.raises(OSError, match=r"."):
        keeper.get()
    keeper.close()
    keeper.put("nothing", read)


def test_no_container_and_no_keeper(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="create the container first"):
        keepers.connect(str(tmp_path / "none"))
    with pytest.raises(Aborted, match="no keeper"):
        keepers.connect(str(tmp_path))


def test_what_sessions_leave_is_found_by_the_next_shim_and_goes_with_them(rig: Rig) -> None:
    one = rig.container("c" * 64, ["sleep", "1000"])
    keeper = keepers.connect(str(one.folder))
    before = set(keeper.get())
    lockers = [keepers.locker(keeper, b'{"n": %d}' % k) for k in range(70)]
    for locker in lockers:
        locker.add(dict(zip(("a", "b", "c"), (os.dup(2) for _ in range(3)), strict=True)))
        locker.send()
    keeper.close()
    keeper = keepers.connect(str(one.folder))
    held = keeper.get()
    found = keepers.sessions(held)
    assert set(held) == before
    assert len(found) == 70
    again = [Locker(keeper, id, fds) for id, fds in found.items()]
    assert sorted(one.notes.text for one in again) == sorted(b'{"n": %d}' % k for k in range(70))
    again[0].close("a", "never there")
    assert set(again[0].fds) == {"memo", "b", "c"}
    for locker in again[1:]:
        locker.close_all()
        locker.close_all()
    left = keeper.get()
    assert set(left) - before == {again[0].name(part) for part in ("memo", "b", "c")}
    for fd in (*left.values(), *held.values()):
        os.close(fd)
    keeper.close()
