import errno
import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.executor.child import copyup


@pytest.fixture
def below(tmp_path: Path) -> Path:
    root = tmp_path / "below"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(b"x" * 100_000)
    (root / "a" / "empty").touch()
    os.symlink("/etc/shadow", root / "link")
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(root / "a" / "b" / "file", 5, 6)
    os.chmod(root / "a" / "b" / "file", 0o4751)
    os.chown(root / "link", 7, 8, follow_symlinks=False)
    os.utime(root / "a" / "b", ns=(10**18, 11 * 10**17))
    os.chown(root, 3, 4)
    os.chmod(root, 0o2750)
    return root


def look(root: Path) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        found[str(path.relative_to(root))] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev)
    return found


def copied(below: Path, above: Path, *, keep_mode: bool) -> None:
    above.mkdir(mode=0o700)
    fds = [os.open(path, os.O_PATH) for path in (below, above)]
    copyup.copy(fds[0], fds[1], keep_mode=keep_mode)
    for fd in fds:
        os.close(fd)


def test_everything_with_owners_modes_and_times(below: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    copied(below, above, keep_mode=False)
    assert look(above) == look(below)
    assert (above / "a" / "b" / "file").read_bytes() == b"x" * 100_000
    assert os.readlink(above / "link") == "/etc/shadow"
    assert (above / "a" / "b").stat().st_mtime_ns == 11 * 10**17
    top = above.stat()
    assert (oct(top.st_mode), top.st_uid, top.st_gid) == ("0o42750", 3, 4)


def test_a_mode_that_was_asked_for_stays(below: Path, tmp_path: Path) -> None:
    copied(below, tmp_path / "above", keep_mode=True)
    assert oct((tmp_path / "above").stat().st_mode) == "0o40700"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """For what is too deep for Python to remove."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / "deep", tmp_path / "above"], check=True)


def deep(root: Path, levels: int) -> None:
    """Directories one in another, the innermost with a file; by descriptor, as a path can be too long for that."""
    root.mkdir()
    fd = os.open(root, os.O_PATH)
    for _ in range(levels):
        os.mkdir("d", 0o750, dir_fd=fd)
        inner = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_a_deep_tree_takes_few_descriptors(place: Path) -> None:
    deep(place / "deep", 1500)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + 12, limits[1]))
    try:
        copied(place / "deep", place / "above", keep_mode=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    innermost = place / "above" / "/".join("d" * 1500)
    assert oct(innermost.stat().st_mode) == "0o40750"
    assert os.listdir(innermost) == ["file"]


def test_a_path_that_is_too_long_is_an_error_of_the_system(place: Path) -> None:
    deep(place / "deep", 2200)
    with pytest.raises(OSError, match="d/d") as caught:
        copied(place / "deep", place / "above", keep_mode=False)
    assert caught.value.errno == errno.ENAMETOOLONG
