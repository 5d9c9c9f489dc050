import errno
import os
import struct

from cribus.linux import process, seccomp

_LOAD_NUMBER, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


def test_a_filter_refuses_one_call() -> None:
    getppid = 173 if os.uname().machine == "aarch64" else 110
    program = b"".join(
        struct.pack("HBBI", *one)
        for one in (
            (_LOAD_NUMBER, 0, 0, 0),
            (_IF_EQUAL, 0, 1, getppid),
            (_RETURN, 0, 0, 0x00050000 | errno.EDOM),
            (_RETURN, 0, 0, 0x7FFF0000),
        )
    )
    pid = os.fork()
    if pid == 0:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(program)
        os._exit(0 if os.getppid() < 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
