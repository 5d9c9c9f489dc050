"""A writable layer, written as a layer and unpacked as one, is what it was."""

import os
import socket
import stat
from pathlib import Path

from cribus.images import changes, whiteouts

from tests.unit.images.world import unpacked


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """All that counts, by name."""
    found: dict[str, tuple[object, ...]] = {}
    for where, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(where, name)
            one = path.lstat()
            kind = stat.S_IFMT(one.st_mode)
            content = path.read_bytes() if kind == stat.S_IFREG else b""
            link = os.readlink(path) if kind == stat.S_IFLNK else ""
            attributes = (
                {key: os.getxattr(path, key) for key in os.listxattr(path, follow_symlinks=False)} if not link else {}
            )
            found[str(path.relative_to(root))] = (
                one.st_mode,
                one.st_uid,
                one.st_gid,
                one.st_rdev,
                content,
                link,
                attributes,
            )
    return found


def test_there_and_back(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc/deep").mkdir(parents=True)
    (upper / "etc/deep").chmod(0o2750)
    (upper / "etc/file").write_bytes(b"x" * 70000)
    os.chown(upper / "etc/file", 1000, 1001)
    os.chmod(upper / "etc/file", 0o4711)
    os.setxattr(upper / "etc/file", "user.note", b"\xff\x00y")
    os.link(upper / "etc/file", upper / "other")
    os.symlink("/etc/passwd", upper / "link")
    os.mkfifo(upper / "fifo")
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(upper / "etc/gone", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "new").mkdir()
    os.setxattr(upper / "new", "trusted.overlay.opaque", b"y")
    (upper / os.fsdecode(b"odd-\xff")).write_text("z")
    before = seen(upper)
    changes.write(str(upper), str(tmp_path / "tar"))
    unpacked((tmp_path / "tar").read_bytes(), tmp_path / "back")
    assert seen(tmp_path / "back") == before
    assert (tmp_path / "back/other").stat().st_ino == (tmp_path / "back/etc/file").stat().st_ino
    assert whiteouts.is_opaque(str(tmp_path / "back/new"))


def test_what_a_tar_has_not_is_left_out(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(upper / "door"))
        changes.write(str(upper), str(tmp_path / "tar"))
    unpacked((tmp_path / "tar").read_bytes(), tmp_path / "back")
    assert os.listdir(tmp_path / "back") == []


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    changes.write(str(tmp_path / "upper"), str(tmp_path / "tar"))
    assert stat.S_IMODE((tmp_path / "tar").stat().st_mode) == 0o600
