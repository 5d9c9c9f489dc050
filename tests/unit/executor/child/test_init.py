"""What it says when it cannot begin; what it does is in tests/node/test_executor.py."""

import os

from cribus.executor.child import failure, init


def test_a_failing_step_is_told() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        request = {"process": {"terminal": False}, "join": [["cgroups", ["/none/tasks"]]]}
        os._exit(init.main(request, [0, 1, 2, read, write]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 126
    assert failure.read(os.read(read, 999).decode())[1] == (
        "INTERNAL",
        "cgroups : /none/tasks: No such file or directory",
    )
    os.close(read)
    os.close(write)
