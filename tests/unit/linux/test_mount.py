"""In a mount namespace of a child, so that the host sees nothing of it."""

import os
from pathlib import Path

import pytest
from cribus.linux import mount, namespaces


def inside(check: str, base: Path) -> int:
    """Exit code of a child that runs the named check in a mount namespace of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mount.change("/", mount.MS_PRIVATE | mount.MS_REC)
            globals()[check](base)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def plain(base: Path) -> None:
    mount.mount("tmpfs", str(base), "tmpfs", (mount.MS_NOSUID, "size=64k,mode=700"))
    (base / "a").mkdir()
    (base / "b").mkdir()
    mount.bind(str(base / "a"), str(base / "b"))
    (base / "a" / "file").touch()
    assert (base / "b" / "file").exists()
    mount.umount(str(base / "b"))
    assert not (base / "b" / "file").exists()


def as_objects(base: Path) -> None:
    filesystem = mount.fsopen("tmpfs")
    mount.fsconfig(filesystem, mount.FSCONFIG_SET_STRING, "mode", "755")
    mount.fsconfig(filesystem, mount.FSCONFIG_CMD_CREATE)
    tree = mount.fsmount(filesystem)
    mount.move_mount(tree, os.open(base, os.O_PATH))
    (base / "file").touch()
    copy = mount.open_tree(mount.AT_FDCWD, str(base), mount.OPEN_TREE_CLONE)
    mount.mount_setattr(copy, "", mount.AT_EMPTY_PATH, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))
    mount.move_mount(copy, os.open(base, os.O_PATH))
    with pytest.raises(OSError, match="Read-only"):
        (base / "other").touch()


@pytest.mark.parametrize("check", ["plain", "as_objects"])
def test_mounts(check: str, tmp_path: Path) -> None:
    assert inside(check, tmp_path) == 0
    assert not tmp_path.is_mount()
