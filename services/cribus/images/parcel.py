"""Checkpoints in and out of archives: what runs in a worker process, because a path that a client has named may
lie on a file system that never answers.

`main` gets {"do": name of DOINGS, …its arguments}, and one descriptor for its answer, msgpack.
"""

import errno
import os
import tarfile
import time
from collections.abc import Iterator

from cribus.errors import DeadlineExceeded, InvalidArgument, NotFound
from cribus.images import changes, worker
from cribus.images.inflate import inflate
from cribus.images.shortage import explained
from cribus.images.tarstream import Chunks
from cribus.images.unpack import unpack
from cribus.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CHUNK = 1 << 20
_PLAIN = "057"  # kinds of entries that an archive of a checkpoint has: files and folders


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """One piece of work, to its end."""
    os.umask(0)
    do, fd = DOINGS[request.pop("do")], fds[0]

    def work() -> tuple[int, int]:
        try:
            return do(**request)
        except OSError as error:
            raise explained(error, "the checkpoint cannot be stored or read") from error

    return worker.report(fd, work)


def capture(upper: str, path: str) -> tuple[int, int]:
    """What a container has changed, as the tar of a layer."""
    changes.write(upper, path)
    return os.stat(path).st_size, 1


def pack(folder: str, location: str, log: str = "", until: int = 0) -> tuple[int, int]:
    """All files below a folder as a tar at `location`, which is there as a whole or not at all, and which nobody
    else may read: it has the memory of processes. What was there before is replaced, but not after `until` (ns
    since the epoch): nobody waits for it then. Raises DeadlineExceeded."""
    directory, name = os.path.split(location)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        aside = f".{name}.{os.path.basename(folder)[:12]}"
        fd = _new(parent, aside)
        try:
            with os.fdopen(fd, "wb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    count = _fill(tar, folder) + _log(tar, log)
                size = file.tell()
                os.fsync(file.fileno())
                if until and time.monotonic_ns() > until:
                    raise DeadlineExceeded("the archive was not written in time")
                _give_name(parent, file.fileno(), aside)
            os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
        except BaseException:
            _away(parent, aside)
            raise
    finally:
        os.close(parent)
    return size, count


def pack_pod(folder: str, location: str, logs: dict[str, str], until: int = 0) -> tuple[int, int]:
    """Each folder in it as an archive; what is a file is copied, and comes last: it says that all is there."""
    size = count = 0
    for name in sorted(logs):
        size += pack(f"{folder}/{name}", f"{location}/{name}.tar", logs[name], until)[0]
        count += 1
    for name in sorted(set(os.listdir(folder)) - set(logs)):
        with open(f"{folder}/{name}", "rb") as file:
            files.write_atomic(f"{location}/{name}", file.read(), 0o600)
    return size, count


def unpack_pod(folder: str, location: str) -> tuple[int, int]:
    """Away with all that `pack_pod` may have made, whenever it was killed."""
    made = [name if os.path.isfile(f"{folder}/{name}") else f"{name}.tar" for name in os.listdir(folder)]
    mine = [one for one in os.listdir(location) if any(name in one for name in made)]
    for name in mine:
        os.unlink(f"{location}/{name}")
    return 0, len(mine)


def _new(parent: int, aside: str) -> int:
    """A file without a name where the file system has such: who is killed leaves nothing. Else one aside."""
    try:
        return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    return os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)


def _give_name(parent: int, fd: int, aside: str) -> None:
    if os.fstat(fd).st_nlink == 0:
        _away(parent, aside)  # of one that was killed just here
        os.link(f"/proc/self/fd/{fd}", aside, dst_dir_fd=parent, follow_symlinks=True)


def _away(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _fill(tar: tarfile.TarFile, folder: str) -> int:
    count = 0
    for where, below, plain in os.walk(folder):
        below.sort()
        for name in sorted([*below, *plain]):
            path = os.path.join(where, name)
            tar.add(path, os.path.relpath(path, folder), recursive=False)
            count += 1
    return count


def _log(tar: tarfile.TarFile, path: str) -> int:
    """The container's log as far as it is written; one that is not there is no loss."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    with os.fdopen(fd, "rb") as file:
        info = tar.gettarinfo(arcname="container.log", fileobj=file)
        if not info.isreg():
            return 0
        tar.addfile(info, file)
    return 1


def unpacked(location: str, folder: str, limit: int) -> tuple[int, int]:
    """An archive's files below a folder, an empty one. It is not trusted: it has files and folders alone, each in
    its place, and not more than `limit` bytes. Raises InvalidArgument, DataLoss."""
    try:
        fd = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"{location} is not there; name the archive of a checkpoint") from error
    try:
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            raise InvalidArgument(f"{location} is no file; name the archive of a checkpoint")
        made = unpack(Chunks(inflate(_read(fd), limit)), folder, only=_PLAIN)
    finally:
        os.close(fd)
    return made.size, made.inodes


def fill(path: str, upper: str, limit: int) -> tuple[int, int]:
    """What `capture` wrote into a container's new writable layer, as any layer is unpacked."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        made = unpack(Chunks(inflate(_read(fd), limit)), upper)
    finally:
        os.close(fd)
    return made.size, made.inodes


def _read(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, _CHUNK):
        yield chunk


DOINGS: "dict[str, Callable[..., tuple[int, int]]]" = {
    function.__name__: function for function in (capture, pack, pack_pod, unpack_pod, unpacked, fill)
}
