"""Whether the kernel's out-of-memory killer struck in a cgroup. Light: the shim asks on every exit."""

import os

MOUNT = "/sys/fs/cgroup"


def oom_kills(path: str, mount: str = MOUNT) -> int:
    """How many processes of the cgroup the OOM killer ended; 0 also when the cgroup is gone.

    v1: `oom_kill` of memory.oom_control, v2: of memory.events (which counts what is below too).
    """
    for name in (f"{mount}/memory{path}/memory.oom_control", f"{mount}{path}/memory.events"):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            text = os.read(fd, 4096)
        except OSError:
            return 0  # ENODEV: removed between the two calls
        finally:
            os.close(fd)
        for line in text.splitlines():
            if line.startswith(b"oom_kill "):
                return int(line[9:])
    return 0


def killed(path: str, mount: str = MOUNT) -> bool:
    """Whether at least one process of the cgroup was killed for want of memory."""
    return oom_kills(path, mount) > 0
