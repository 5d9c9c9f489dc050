import errno

import pytest
from cribus.linux import libc


def test_a_failed_call_is_an_oserror_that_bears_its_name() -> None:
    with pytest.raises(OSError, match="setns") as caught:
        libc.call("setns", libc.SYS_SETNS, -1, 0)
    assert (caught.value.errno, caught.value.filename) == (errno.EBADF, "setns")


def test_names_become_bytes() -> None:
    assert (libc.path("/ä"), libc.path(None)) == ("/ä".encode(), None)
