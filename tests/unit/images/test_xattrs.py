"""Which attributes an image may set."""

import os
from pathlib import Path

import pytest
from cribus.images import xattrs


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("user.note", True),
        ("security.capability", True),
        ("system.posix_acl_access", True),
        ("security.selinux", False),
        ("trusted.overlay.opaque", False),
        ("user.overlay.opaque", False),
    ],
)
def test_kept(key: str, kept: bool) -> None:
    assert xattrs.kept(key) is kept


def test_apply_and_copy(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    xattrs.apply(str(source), {"user.note": b"x", "trusted.overlay.opaque": b"y"})
    os.setxattr(source, "trusted.mine", b"z")
    assert sorted(os.listxattr(source)) == ["trusted.mine", "user.note"]
    ends = [os.open(one, os.O_RDONLY) for one in (source, target)]
    xattrs.copy(*ends)
    for end in ends:
        os.close(end)
    assert os.listxattr(target) == ["user.note"]


def test_a_link_takes_no_note(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    xattrs.apply(str(link), {"user.note": b"x"})
    assert os.listxattr(link, follow_symlinks=False) == []
