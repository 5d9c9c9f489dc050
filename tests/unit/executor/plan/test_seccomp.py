"""Compiled filters are installed in a child and must do what the profile says."""

import ctypes
import os
import struct
from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.plan import seccomp

ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}


def _in_child(program: bytes, act: Any) -> int:
    """The exit code of a child that installs the filter and then acts."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)
        buffer = ctypes.create_string_buffer(program)
        fprog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
        if libc.prctl(22, 2, fprog, 0, 0):
            os._exit(99)
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 98)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_denied_call_gets_its_errno_and_others_work() -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    program = seccomp.compile({**ALLOW, "syscalls": [rule]})
    assert _in_child(program, lambda: os.mkdir("/proc/never")) == 38
    assert _in_child(program, lambda: os.stat("/")) == 0


def test_conditions_on_arguments() -> None:
    rule = {
        "names": ["dup2", "dup3"],
        "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 1, "value": 77, "op": "SCMP_CMP_EQ"}],
    }
    program = seccomp.compile({**ALLOW, "syscalls": [rule]})
    assert _in_child(program, lambda: os.dup2(0, 77, inheritable=True)) == 1
    assert _in_child(program, lambda: os.dup2(0, 78, inheritable=True)) == 0


def test_unknown_calls_are_skipped_and_unknown_words_refused() -> None:
    seccomp.compile({**ALLOW, "syscalls": [{"names": ["from_the_future"], "action": "SCMP_ACT_ERRNO"}]})
    with pytest.raises(InvalidArgument, match="SCMP_ACT_MAYBE"):
        seccomp.compile({"defaultAction": "SCMP_ACT_MAYBE"})
    bad = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "op": "SCMP_CMP_EQ"}]}
    with pytest.raises(InvalidArgument, match="out of range"):
        seccomp.compile({**ALLOW, "syscalls": [bad]})


def test_what_says_nothing_filters_nothing() -> None:
    assert not seccomp.filters({"architectures": ["SCMP_ARCH_X86_64"], "defaultAction": ""})
    assert seccomp.filters(ALLOW)


def test_what_has_no_effect_is_told() -> None:
    rules = [
        {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "errnoRet": 3},
        {"names": ["dup3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3},
    ]
    profile = {**ALLOW, "defaultErrnoRet": 1, "listenerPath": "/s", "listenerMetadata": "x", "syscalls": rules}
    assert [text.split()[0] for text in seccomp.ignored(profile)] == [
        "linux.seccomp.listenerPath",
        "linux.seccomp.listenerMetadata",
        "linux.seccomp.defaultErrnoRet",
        "linux.seccomp.syscalls[0].errnoRet",
    ]
    assert seccomp.ignored({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": None}) == []


def test_an_architecture_that_does_not_exist() -> None:
    with pytest.raises(InvalidArgument, match="SCMP_ARCH_X86_46"):
        seccomp.compile({**ALLOW, "architectures": ["SCMP_ARCH_X86_46"]})


def test_other_machines_architectures_are_no_error() -> None:
    names = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"]
    assert seccomp.compile({**ALLOW, "architectures": names})
