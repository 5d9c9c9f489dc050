"""A user namespace that nobody runs in: the kernel takes a mount's mapping of owners from one.

Source: mount_setattr(2) "ID-mapped mounts", user_namespaces(7).
"""

import os

from cribus.linux import namespaces


def namespace(users: str, groups: str) -> int:
    """A descriptor of a new one with these lines as its uid_map and gid_map. Raises OSError."""
    with namespaces.kept(namespaces.CLONE_NEWUSER) as (_, pidfd):
        there = f"/proc/{_number(pidfd)}"
        for name, text in (("uid_map", users), ("gid_map", groups)):
            fd = os.open(f"{there}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        return os.open(f"{there}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _number(pidfd: int) -> str:
    """The pid as /proc has it: /proc may be of a PID namespace above ours."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next(line.split()[1] for line in file if line.startswith("Pid:"))
