"""What it says when it cannot begin; what it does is in tests/node/test_executor.py."""

import os
from typing import Any

from cribus.executor.child import exec, failure


def refused(**more: Any) -> tuple[str, str] | None:
    """What a child says that cannot begin."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        process: dict[str, Any] = {"rlimits": [], "oom": None, "scheduler": [], "io_priority": [], "memory_policy": []}
        request = {"process": {**process, "personality": -1}, "cgroups": [], "affinity": [[], []], **more}
        os._exit(exec.main(request, [read, write, read]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 126
    said = failure.read(os.read(read, 999).decode())[1]
    os.close(read)
    os.close(write)
    return said


def test_a_failing_step_is_told() -> None:
    text = "process cannot enter the container: /none/tasks: No such file or directory"
    assert refused(cgroups=["/none/tasks"]) == ("INTERNAL", text)


def test_cpus_that_are_not_there() -> None:
    text = "process.execCPUAffinity: CPUs 8000,8001 cannot be had: Invalid argument"
    for affinity in ([[8000, 8001], []], [[0], [8000, 8001]]):
        assert refused(affinity=affinity) == ("INVALID_ARGUMENT", text)
