import os
from pathlib import Path

import pytest
from cribus.executor.child import idmaps
from cribus.linux import namespaces


def mappings(users: str, groups: str) -> list[list[str]]:
    """What a child that joins it has."""
    fd = idmaps.namespace(users, groups)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.setns(fd, namespaces.CLONE_NEWUSER)
            os.write(write, Path("/proc/self/uid_map").read_bytes() + Path("/proc/self/gid_map").read_bytes())
        finally:
            os._exit(0)
    os.close(write)
    try:
        os.waitpid(pid, 0)
        return [line.split() for line in os.read(read, 4096).decode().splitlines()]
    finally:
        os.close(read)
        os.close(fd)


def test_a_namespace_that_nobody_runs_in() -> None:
    found = mappings("0 1000 5\n7 2000 1\n", "3 4 9\n")
    assert found == [["0", "1000", "5"], ["7", "2000", "1"], ["3", "4", "9"]]


def test_a_mapping_that_the_kernel_refuses_leaves_no_child() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        idmaps.namespace("0 0 1\n0 5 1\n", "0 0 1\n")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
