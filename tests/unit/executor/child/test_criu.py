import os

import pytest
from cribus.executor.child import criu
from cribus.linux import namespaces


def answered(argv: list[str], join: list[list[object]]) -> bytes:
    read, write = os.pipe()
    at_work = os.open("/dev/null", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        os._exit(criu.dump({"path": argv[0], "argv": argv, "env": {}, "join": join}, [write, at_work]))
    os.close(write)
    os.close(at_work)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as file:
        return file.read()


@pytest.mark.parametrize(("argv", "said"), [(["/bin/true"], b"ready \n"), (["/bin/false"], b""), (["/nowhere"], b"")])
def test_it_says_how_the_program_ended(argv: list[str], said: bytes) -> None:
    assert answered(argv, []) == said


def test_it_is_run_in_those_namespaces() -> None:
    own = os.readlink("/proc/self/ns/uts")
    script = f'test "$(readlink /proc/self/ns/uts)" != "{own}"'
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        os.execv("/bin/sleep", ["sleep", "100"])
    try:
        while os.readlink(f"/proc/{pid}/exe") != os.path.realpath("/bin/sleep"):
            os.sched_yield()
        where = [[f"/proc/{pid}/ns/uts", namespaces.CLONE_NEWUTS]]
        assert answered(["/bin/sh", "-c", script], where) == b"ready \n"
        assert answered(["/bin/sh", "-c", script], []) == b""
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_namespace_that_is_not_there() -> None:
    assert b"error INTERNAL" in answered(["/bin/true"], [["/nowhere", namespaces.CLONE_NEWUTS]])
