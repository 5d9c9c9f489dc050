import os

import pytest
from cribus.executor.child import program


@pytest.mark.parametrize(("path", "code"), [("/bin/sh", 5), ("/nowhere", 127), ("/etc/passwd", 126)])
def test_it_becomes_the_program(path: str, code: int) -> None:
    fds = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
    request = {"path": path, "argv": ["sh", "-c", "test $X = y && exit 5"], "env": {"X": "y"}, "cwd": "/"}
    pid = os.fork()
    if pid == 0:
        os._exit(program.main(request, fds))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    for fd in fds:
        os.close(fd)
