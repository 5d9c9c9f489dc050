"""An overlay of as many layers, with names as long, as images have, on each kernel that we run on.

fsconfig(2) takes strings of 255 bytes. One `lowerdir` of all layers is the fastest; what does not fit in it goes
layer by layer (`lowerdir+`, Linux 6.7), or by mount(2), which takes a page of options on any kernel. Where a name
is too long even so, a descriptor names the layer: as few as can be, the container's own limit counts already.
"""

import errno
import os

from cribus.executor.child import paths
from cribus.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_STRING = 255  # bytes that fsconfig(2) takes
_PAGE = 4095  # bytes that mount(2) takes; it cuts off what is more, and says nothing


def mounted(options: "dict[str, Any]") -> int:
    """The overlay as a mount that is not attached yet. `options` are its own; `lowerdir` is a list, top first.

    To be called in a mount namespace that the host does not see: an old kernel wants a place in it for a moment.
    Raises OSError.
    """
    lower = options["lowerdir"]
    joined = ":".join(_escaped(path, "\\:") for path in lower)
    if _bytes(joined) <= _STRING and "," not in joined:  # kernels before 6.5 take no comma there
        return _made(options, [("lowerdir", joined)])
    try:
        return _made(options, (("lowerdir+", path) for path in lower))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    words = _words(options, lower)
    if _bytes(words) <= _PAGE:
        return _made_at(lower[0], words)
    fds: list[int] = []
    try:
        fds.extend(_opened(path) for path in lower)  # where one cannot be opened, those before it are there
        words = _words(options, [paths.through(fd) for fd in fds])
        if _bytes(words) > _PAGE:
            raise OSError(errno.E2BIG, f"{len(lower)} layers are more than this kernel can mount")
        return _made_at(lower[0], words)
    finally:
        for fd in fds:
            os.close(fd)


def _made(options: "dict[str, Any]", lower: "Iterable[tuple[str, str]]") -> int:
    filesystem = mount.fsopen("overlay")
    try:
        for key, value in lower:
            _set(filesystem, key, value)
        for key, value in _others(options):
            mount.fsconfig(filesystem, mount.FSCONFIG_SET_STRING, key, value)
        mount.fsconfig(filesystem, mount.FSCONFIG_CMD_CREATE)
        return mount.fsmount(filesystem)
    finally:
        os.close(filesystem)


def _set(filesystem: int, key: str, value: str) -> None:
    """What has `lowerdir+` looks a name up at once: its descriptor is not needed any longer than that."""
    if _bytes(value) <= _STRING:
        mount.fsconfig(filesystem, mount.FSCONFIG_SET_STRING, key, value)
        return
    fd = _opened(value)
    try:
        mount.fsconfig(filesystem, mount.FSCONFIG_SET_STRING, key, paths.through(fd))
    finally:
        os.close(fd)


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _words(options: "dict[str, Any]", lower: list[str]) -> str:
    """The options as mount(2) has them."""
    joined = ":".join(_escaped(path, "\\:,") for path in lower)
    others = [key + "=" + _escaped(value, "\\,") for key, value in _others(options)]
    return ",".join([f"lowerdir={joined}", *others])


def _made_at(place: str, words: str) -> int:
    """By mount(2), which needs a place: a copy of what was mounted there is what stays."""
    mount.mount("overlay", place, "overlay", (0, words))
    try:
        return mount.open_tree(mount.AT_FDCWD, place, mount.OPEN_TREE_CLONE)
    finally:
        mount.umount(place)


def _escaped(text: str, special: str) -> str:
    for one in special:  # the backslash comes first
        text = text.replace(one, "\\" + one)
    return text


def _bytes(text: str) -> int:
    return len(os.fsencode(text))


def _others(options: "dict[str, Any]") -> list[tuple[str, str]]:
    return [(key, value) for key, value in options.items() if key != "lowerdir"]
