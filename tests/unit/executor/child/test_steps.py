"""Steps that change nothing of the host; all others run in tests/node/test_executor.py."""

import os
from pathlib import Path

import pytest
from cribus.executor.child import steps
from cribus.executor.child.failure import Failed


def test_files_are_joined_in_order(tmp_path: Path) -> None:
    files = [tmp_path / "tasks", tmp_path / "cgroup.procs"]
    for file in files:
        file.touch()
    steps.run(steps.Work(), [["cgroups", [str(file) for file in files]]])
    assert [file.read_text() for file in files] == ["0", "0"]


def test_a_step_that_fails_is_a_sentence() -> None:
    with pytest.raises(Failed, match="join /none: /none: No such file"):
        steps.run(steps.Work(), [["join", "/none", 0]])


def test_devices_and_links(tmp_path: Path) -> None:
    work = steps.Work()
    work.root = os.open(tmp_path, os.O_PATH)
    for _ in range(2):
        steps.devices(work, [["/dev/null", 0o20666, os.makedev(1, 3), 5, 6]], [["/dev/fd", "/proc/self/fd"]])
    assert work.warnings == []
    steps.devices(work, [["/dev/null", 0o20666, os.makedev(1, 5), 0, 0]], [])
    assert work.warnings == ["linux.devices: /dev/null is there already and is another: it stays"]
    found = (tmp_path / "dev/null").stat()
    assert (oct(found.st_mode), found.st_rdev, found.st_uid, found.st_gid) == ("0o20666", os.makedev(1, 3), 5, 6)
    assert os.readlink(tmp_path / "dev/fd") == "/proc/self/fd"
    os.close(work.root)
