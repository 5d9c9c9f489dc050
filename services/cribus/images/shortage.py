"""What the host is short of, or its disk does wrong, as errors for whoever asked."""

import errno
import os

from cribus.errors import CribusError, Internal, ResourceExhausted

_DISK = (errno.ENOSPC, errno.EDQUOT)
_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def behind(error: BaseException) -> OSError | None:
    """The shortage of descriptors that another error hides, if one does."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _DESCRIPTORS:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def explained(error: OSError, what: str) -> CribusError:
    """`what` could not be done, and why: ResourceExhausted where the host is short of something, else Internal."""
    reason = error.strerror or str(error)
    if error.errno in _DISK:
        return ResourceExhausted(f"{what}: {reason}; `df -h` and `df -i` show where space is short")
    if error.errno in _DESCRIPTORS:
        return ResourceExhausted(f"{what}: {reason}; raise the limit of open files (`ulimit -n`, LimitNOFILE=)")
    if error.errno == errno.EAGAIN or error.errno == errno.ENOMEM:
        return ResourceExhausted(f"{what}: {reason}; the host is short of processes or memory")
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return Internal(f"{what}: {reason}{f' ({where})' if where else ''}")
