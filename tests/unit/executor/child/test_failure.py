import errno
import os

import pytest
from cribus.executor.child import failure


def test_lines_there_and_back() -> None:
    read, write = os.pipe()
    failure.tell(write, "warning", "less\nthan asked")
    failure.tell(write, "ready", "")
    failure.tell(write, "error", "NOT_FOUND no such file")
    said = os.read(read, 999).decode()
    assert failure.read(said) == (["less than asked"], ("NOT_FOUND", "no such file"), True)
    os.close(read)
    failure.tell(write, "ready", "")  # nobody reads: no error
    os.close(write)


def test_reason_names_what_it_was_about() -> None:
    assert failure.reason(OSError(2, "No such file", "/x")) == "/x: No such file"
    assert failure.reason(OSError(2, "No such file", "/proc/self/fd/7")) == "No such file"


@pytest.mark.parametrize(("number", "code"), [(errno.EAGAIN, "RESOURCE_EXHAUSTED"), (errno.EPERM, "INTERNAL")])
def test_a_host_that_is_short_of_something_is_no_defect_of_ours(number: int, code: str) -> None:
    assert failure.code(OSError(number, os.strerror(number), "clone3")) == code
