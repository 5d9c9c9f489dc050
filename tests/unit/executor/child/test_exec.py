"""What it says when it cannot begin; what it does is in tests/node/test_executor.py."""

import os

from cribus.executor.child import exec, failure


def test_a_failing_step_is_told() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        request = {
            "process": {"rlimits": [], "oom": None, "scheduler": [], "io_priority": [], "memory_policy": []},
            "cgroups": ["/none/tasks"],
        }
        os._exit(exec.main(request, [read, write, read]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 126
    assert failure.read(os.read(read, 999).decode())[1] == (
        "INTERNAL",
        "process cannot enter the container: /none/tasks: No such file or directory",
    )
    os.close(read)
    os.close(write)
