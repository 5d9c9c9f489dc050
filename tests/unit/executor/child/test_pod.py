"""What it says when it cannot begin; what it does is in tests/node/test_executor.py."""

import os

from cribus.executor.child import failure, pod


def test_a_missing_directory_is_told() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(pod.main({"directory": "/none/ns"}, [write]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    said = failure.read(os.read(read, 999).decode())[1]
    assert said is not None
    assert said[0] == "INTERNAL"
    os.close(read)
    os.close(write)
