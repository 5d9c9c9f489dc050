"""Volumes that an image declares: a directory a container, which starts as the image has it."""

import os
import shutil
import stat

from cribus.errors import Unavailable
from cribus.manager import expendable
from cribus.manager.wanted import Wanted, clean

_PATIENCE = 300.0  # seconds that copying what the image has in them may take
_OPAQUE = "trusted.overlay.opaque"


async def fill(wanted: Wanted) -> None:
    """Make the directories, with the image's content, owner and mode. Raises Unavailable when the image service
    does not say what the image has in them: it is of an older version."""
    declared = wanted.image_volumes()
    if not declared:
        return
    told = wanted.prepared.volumes
    if told is None:
        raise Unavailable("the image service that answered is older and cannot read the image's volumes; repeat")
    parts = {clean(f"/{path}"): found for path, found in told.items()}
    await expendable.run(lambda: _fill(wanted, declared, parts), "filling the image's volumes", _PATIENCE)


def _fill(wanted: Wanted, declared: list[str], parts: dict[str, list[str]]) -> None:
    for number, inside in enumerate(declared):
        target = f"{wanted.volumes_dir}/{number}"
        os.makedirs(target, 0o755, exist_ok=True)
        for source in reversed(parts.get(inside, [])):
            _merge(source, target)


def _merge(source: str, target: str) -> None:
    """Lay one layer's directory over what the layers below it gave (overlayfs: whiteouts are
    character devices 0/0, an opaque directory hides what is below it)."""
    if _opaque(source):
        for entry in os.scandir(target):
            _delete(entry.path)
    _copy_owner(source, target)
    for entry in os.scandir(source):
        to = f"{target}/{entry.name}"
        seen = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            if os.path.lexists(to) and (os.path.islink(to) or not os.path.isdir(to)):
                _delete(to)
            os.makedirs(to, exist_ok=True)
            _merge(entry.path, to)
            continue
        if os.path.lexists(to):
            _delete(to)
        if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:
            continue
        if stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
            shutil.copy2(entry.path, to, follow_symlinks=False)
        else:
            os.mknod(to, seen.st_mode, seen.st_rdev)
        os.chown(to, seen.st_uid, seen.st_gid, follow_symlinks=False)


def _opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE) == b"y"
    except OSError:  # no such attribute, or a file system without attributes
        return False


def _copy_owner(source: str, target: str) -> None:
    seen = os.stat(source)
    os.chown(target, seen.st_uid, seen.st_gid)
    os.chmod(target, stat.S_IMODE(seen.st_mode))


def _delete(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
