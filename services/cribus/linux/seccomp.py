"""Installing a seccomp filter that was compiled elsewhere."""

import ctypes
import struct

from cribus.linux import libc

_SET_MODE_FILTER = 1
_INSTRUCTION = 8  # bytes of struct sock_filter


def install(program: bytes, flags: int = 0) -> None:
    """seccomp(2) SECCOMP_SET_MODE_FILTER with struct sock_filter[] bytes. Needs no_new_privs or
    CAP_SYS_ADMIN. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // _INSTRUCTION, ctypes.addressof(buffer))
    libc.call("seccomp", libc.SYS_SECCOMP, _SET_MODE_FILTER, flags, header)
