import os
from pathlib import Path

import pytest
from cribus.errors import FailedPrecondition
from cribus.shim import keepers

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
    with pytest.raises(FailedPrecondition, match="no keeper"):
        keepers.connect(str(tmp_path))
