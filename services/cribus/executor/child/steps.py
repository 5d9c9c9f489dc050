"""What a plan's steps do. Runs in the container's init, in its own mount namespace, before pivot_root.

A step is a list: a name of `STEPS` and its arguments. A step's OSError becomes a sentence in `run`.
"""

import contextlib
import errno
import os
import socket
import stat

from cribus.executor.child import copyup, idmaps, layers, paths
from cribus.executor.child.failure import Failed, code, reason
from cribus.linux import mount, namespaces
from cribus.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_OLD_ROOT = "."


class Work:
    """What steps hand to each other: the root filesystem, trees cloned early, warnings; `halt` is what init does
    before the pivot when there are hooks."""

    __slots__ = ("covered", "halt", "root", "trees", "users", "warnings")

    def __init__(self, halt: "Callable[[], None]" = lambda: None) -> None:
        self.halt = halt
        self.root = -1
        self.trees: dict[str, list[int]] = {}
        self.users = -1  # the pod's user namespace, when it has one
        self.covered: list[str] = []  # layers that are seen with the container's owners already
        self.warnings: list[str] = []


def run(work: Work, steps: "list[list[Any]]") -> None:
    """Run every step in order. Raises Failed with the step that did not succeed."""
    for name, *args in steps:
        try:
            with _DONE[name].of():
                STEPS[name](work, *args)
        except OSError as error:
            what = " ".join(str(one) for one in args[:3] if isinstance(one, str) and one)
            raise Failed(code(error), f"{name} {what}: {reason(error)}") from error


def cgroups(work: Work, files: list[str]) -> None:
    """Join: a process with one thread writes "0" to each file itself; anything else is slower."""
    for path in files:
        write(path, b"0")


def write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def join(work: Work, path: str, kind: int) -> None:
    """setns to the namespace at `path`; a user namespace is only opened, it is joined last."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if kind == namespaces.CLONE_NEWUSER:
        work.users = fd
        return
    try:
        namespaces.setns(fd, kind)
    finally:
        os.close(fd)


def unshare(work: Work, flags: int) -> None:
    namespaces.unshare(flags)


def clock(work: Work, offsets: str) -> None:
    namespaces.own_clock(offsets)


def clone(work: Work, source: str, recursive: bool) -> None:
    """Copy a mount while it is still shared with the host, for a bind that propagates both ways."""
    work.trees.setdefault(source, []).append(_made_tree(source, recursive))


def propagation(work: Work, flags: int) -> None:
    mount.change("/", flags)


def overlay(work: Work, target: str, options: dict[str, "Any"], owner: list[int]) -> None:
    """The root filesystem: layers (top first) with a writable one above; enter it."""
    attach(layered(work, options, owner), os.open(target, os.O_PATH | os.O_CLOEXEC))
    enter(work, target)


def layered(work: Work, options: dict[str, "Any"], owner: list[int]) -> int:
    """Layers, perhaps with a writable one above, as a mount that is not attached yet.

    `owner`: uid and gid of the pod's user namespace's root, [] without one. Layers are then seen with
    the container's owners: their mapped copies cover them in this mount namespace alone. The writable
    one is not mapped, as overlayfs itself writes there with ids of the host.
    """
    if owner:
        if options.get("upperdir"):
            os.chown(options["upperdir"], *owner)  # the owner of "/"
        for directory in options["lowerdir"]:
            _cover(work, directory)
    return layers.mounted(options)


def _cover(work: Work, directory: str) -> None:
    """What an image's volume shares with the root filesystem, or lies in it, is covered once: no mapping can be
    mapped again."""
    if _is_covered(work, directory):
        return
    tree = _tree(directory, False)
    _map(work, tree, ["", "", False])
    attach(tree, os.open(directory, os.O_PATH | os.O_CLOEXEC))
    work.covered.append(directory)


def _is_covered(work: Work, path: str) -> bool:
    return any(path == known or path.startswith(known + "/") for known in work.covered)


def bind_root(work: Work, source: str) -> None:
    """A root filesystem that is a directory already: it must be a mount of its own to pivot to."""
    attach(_tree(source, True), os.open(source, os.O_PATH | os.O_CLOEXEC))
    enter(work, source)


def enter(work: Work, target: str) -> None:
    work.root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.mount_setattr(work.root, "", mount.AT_EMPTY_PATH, (0, 0, mount.MS_PRIVATE, 0))


def _tree(source: str, recursive: bool) -> int:
    flags = mount.OPEN_TREE_CLONE | (mount.AT_RECURSIVE if recursive else 0)
    return mount.open_tree(mount.AT_FDCWD, source, flags)


def attach(tree: int, target: int) -> None:
    """Attach a detached mount; both descriptors are used up."""
    try:
        mount.move_mount(tree, target)
    finally:
        os.close(tree)
        os.close(target)


def filesystem(work: Work, fstype: str, target: str, how: "list[Any]") -> None:
    """Mount a new file system inside the root; `how` is source, flags, options of its own; for layers alone:
    their overlay's options, owner as of `layered`, MOUNT_ATTR_* to set and to clear."""
    if len(how) == 4:
        options, owner, on, off = how
        tree = layered(work, options, owner)
        mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH, (on, off, mount.MS_PRIVATE, 0))
        attach(tree, paths.ensure(work.root, target, directory=True))
        return
    source, flags, data = how
    where, mode = _place(work, target)
    if fstype == "tmpfs" and mode and not flags & mount.MS_REMOUNT:
        data = f"mode={mode:o},{data}"  # that of what it covers, unless `data` has another
    try:
        mount.mount(source, paths.through(where), fstype, (flags, data.rstrip(",")))
    finally:
        os.close(where)


def _place(work: Work, target: str) -> tuple[int, int]:
    """A directory to mount on, and its mode when it was there."""
    try:
        where = paths.open_in(work.root, target)
    except FileNotFoundError:
        return paths.ensure(work.root, target, directory=True), 0
    return where, stat.S_IMODE(os.fstat(where).st_mode)


def bind(work: Work, source: str, target: str, how: dict[str, "Any"]) -> None:
    """Show a host path inside the root.

    `how`: recursive; early: copied by `clone` already; set/clear: MOUNT_ATTR_* of the mount itself; deep:
    both, of all below too; propagation: list of (flags, recursive); mapped: [uid_map, gid_map, with all
    below], empty maps for the pod's user namespace's, or None.
    A source that does not exist becomes a directory, as CRI wants it.
    """
    tree = work.trees[source].pop(0) if how["early"] else _made_tree(source, how["recursive"])
    directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    if how["mapped"] and (how["mapped"][0] or not _is_covered(work, source)):
        _map(work, tree, how["mapped"])
    if how["set"] or how["clear"]:
        mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH, (how["set"], how["clear"], 0, 0))
    _alter(tree, how["deep"], how["propagation"])
    attach(tree, paths.ensure(work.root, target, directory=directory))


def _made_tree(source: str, recursive: bool) -> int:
    try:
        return _tree(source, recursive)
    except FileNotFoundError:
        os.makedirs(source, 0o755, exist_ok=True)
        return _tree(source, recursive)


def _map(work: Work, tree: int, how: "list[Any]") -> None:
    users, groups, deep = how
    namespace = idmaps.namespace(users, groups) if users else os.dup(work.users)
    flags = mount.AT_EMPTY_PATH | (mount.AT_RECURSIVE if deep else 0)
    try:
        mount.mount_setattr(tree, "", flags, (mount.MOUNT_ATTR_IDMAP, 0, 0, namespace))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        what = "it or what is mounted below it" if deep else "it"
        text = f"this kernel cannot show {what} with other owners; leave its uidMappings out"
        raise OSError(error.errno, text) from error
    finally:
        os.close(namespace)


def _alter(fd: int, deep: list[int], propagation: "list[list[Any]]") -> None:
    if any(deep):
        mount.mount_setattr(fd, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, (deep[0], deep[1], 0, 0))
    for flags, recursive in propagation:
        mount.mount_setattr(fd, "", mount.AT_EMPTY_PATH | (mount.AT_RECURSIVE if recursive else 0), (0, 0, flags, 0))


def alter(work: Work, target: str, deep: list[int], propagation: "list[list[Any]]") -> None:
    """What is mounted at `target` of the root: attributes to set and to clear for it and all below; propagation as
    of `bind`."""
    fd = paths.open_in(work.root, target)
    try:
        _alter(fd, deep, propagation)
    finally:
        os.close(fd)


def copied_up(work: Work, fstype: str, target: str, how: "list[Any]") -> None:
    """As `filesystem`, which then has what it covers."""
    below = paths.ensure(work.root, target, directory=True)
    filesystem(work, fstype, target, how)
    above = paths.open_in(work.root, target)
    try:
        copyup.copy(below, above, keep_mode="mode=" in how[2])
    finally:
        os.close(below)
        os.close(above)


def cgroup_v1(work: Work, target: str, flags: int, what: "dict[str, Any]") -> None:
    """A tmpfs with a mount for each v1 hierarchy: [name, superblock options or "", host directory]."""
    filesystem(work, "tmpfs", target, ["tmpfs", flags & ~mount.MS_RDONLY, "mode=755"])
    for name, data, directory in what["mounts"]:
        where = f"{target}/{name}"
        if data:
            filesystem(work, "cgroup", where, ["cgroup", flags, data])
        else:
            tree = _tree(directory, False)
            mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH, (flags & 0xF, 0, 0, 0))
            attach(tree, paths.ensure(work.root, where, directory=True))
    parent = paths.open_in(work.root, target)
    for name, to in what["links"]:
        os.symlink(to, f"{paths.through(parent)}/{name}")
    if flags & mount.MS_RDONLY:
        mount.mount_setattr(parent, "", mount.AT_EMPTY_PATH, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))
    os.close(parent)


def devices(work: Work, nodes: list[list["Any"]], links: list[list[str]]) -> None:
    """Device nodes [path, mode with type, device number, uid, gid], and links [path, to] of /dev."""
    old = os.umask(0)
    for path, mode, number, uid, gid in nodes:
        folder = paths.ensure(work.root, os.path.dirname(path), directory=True)
        here = f"{paths.through(folder)}/{os.path.basename(path)}"
        try:
            os.mknod(here, mode, number)
        except FileExistsError:  # the image or an earlier entry has it
            found = os.stat(here, follow_symlinks=False)
            if (stat.S_IFMT(found.st_mode), found.st_rdev) != (stat.S_IFMT(mode), number):
                work.warnings.append(f"linux.devices: {path} is there already and is another: it stays")
        else:
            if uid or gid:
                os.chown(here, uid, gid, follow_symlinks=False)
        os.close(folder)
    for path, to in links:
        folder = paths.ensure(work.root, os.path.dirname(path), directory=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(to, f"{paths.through(folder)}/{os.path.basename(path)}")
        os.close(folder)
    os.umask(old)


def sysctls(work: Work, values: dict[str, str]) -> None:
    """`values` by path below /proc/sys."""
    for path, value in values.items():
        write("/proc/sys/" + path, value.encode())


def hostname(work: Work, name: str, domain: str) -> None:
    if name:
        socket.sethostname(name)
    if domain:
        write("/proc/sys/kernel/domainname", os.fsencode(domain))


def halt(work: Work) -> None:
    """All is mounted, and nothing of the host is let go of: the time of hooks."""
    work.halt()


def pivot(work: Work, flags: int, readonly: bool) -> None:
    """Let the root filesystem be "/", and let go of the host's."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(work.root)
    mount.pivot_root(".", _OLD_ROOT)
    os.fchdir(old)
    mount.change(".", mount.MS_SLAVE | mount.MS_REC)  # else the umount would reach the host
    mount.umount(".", mount.MNT_DETACH)
    os.chdir("/")
    os.close(old)
    os.close(work.root)
    if flags:
        mount.change("/", flags)
    if readonly:
        mount.mount_setattr(mount.AT_FDCWD, "/", 0, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))


def seal(work: Work, targets: list[str]) -> None:
    """After pivot: nothing more is made in these mounts."""
    for path in targets:
        fd = os.open("/" + path, os.O_PATH | os.O_CLOEXEC)
        mount.mount_setattr(fd, "", mount.AT_EMPTY_PATH, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))
        os.close(fd)


def mask(work: Work, hidden: list[str], readonly: list[str]) -> None:
    """After pivot: cover what must not be seen, and write-protect what must not be changed."""
    null = -1
    for path in hidden:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            mount.mount("tmpfs", paths.through(fd), "tmpfs", (mount.MS_RDONLY, "size=0k"))
            os.close(fd)
            continue
        null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC) if null < 0 else null
        attach(mount.open_tree(null, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH), fd)
    for path in readonly:
        try:
            tree = _tree(path, True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))
        attach(tree, os.open(path, os.O_PATH | os.O_CLOEXEC))


STEPS: "dict[str, Callable[..., None]]" = {
    function.__name__: function
    for function in (
        cgroups, join, unshare, clock, clone, propagation, overlay, bind_root, filesystem, copied_up, bind,
        alter, cgroup_v1, devices, sysctls, hostname, halt, pivot, seal, mask,
    )
}  # fmt: skip
_DONE = {name: Step(f"init.set-up.{name}") for name in STEPS}
