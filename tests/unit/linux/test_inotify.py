import os
from pathlib import Path

from cribus.linux import inotify


def test_renames_are_told(tmp_path: Path) -> None:
    fd = inotify.init()
    watch = inotify.add_watch(fd, str(tmp_path), inotify.IN_MOVED_TO)
    assert inotify.read(fd) == []
    (tmp_path / "a").touch()
    os.rename(tmp_path / "a", tmp_path / "b")
    assert inotify.read(fd) == [(watch, inotify.IN_MOVED_TO, "b")]
    inotify.rm_watch(fd, watch)
    os.close(fd)
