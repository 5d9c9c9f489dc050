"""The one door to the C library. Other modules of this room name the calls; this one makes them.

PyDLL and not CDLL: the interpreter lock stays held, so a call between clone3 and exec cannot wait for
a thread that does not exist in the child.
"""

import ctypes
import os

_LIBC = ctypes.PyDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long
_ARM = os.uname().machine == "aarch64"

# the same on every machine from number 403 on (asm-generic)
SYS_PIDFD_SEND_SIGNAL = 424
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442
SYS_MOUNT = 40 if _ARM else 165
SYS_UMOUNT2 = 39 if _ARM else 166
SYS_PIVOT_ROOT = 41 if _ARM else 155
SYS_UNSHARE = 97 if _ARM else 272
SYS_SETNS = 268 if _ARM else 308
SYS_PRCTL = 167 if _ARM else 157
SYS_CAPSET = 91 if _ARM else 126
SYS_SECCOMP = 277 if _ARM else 317
SYS_FALLOCATE = 47 if _ARM else 285
SYS_TEE = 77 if _ARM else 276
SYS_SIGNALFD4 = 74 if _ARM else 289
SYS_INOTIFY_INIT1 = 26 if _ARM else 294
SYS_INOTIFY_ADD_WATCH = 27 if _ARM else 254
SYS_INOTIFY_RM_WATCH = 28 if _ARM else 255
SYS_IOPRIO_SET = 30 if _ARM else 251
SYS_PERSONALITY = 92 if _ARM else 135
SYS_SCHED_SETATTR = 274 if _ARM else 314
SYS_SET_MEMPOLICY = 237 if _ARM else 238

Argument = int | bytes | None | ctypes.Array[ctypes.c_char]


def syscall(number: int, *args: Argument) -> int:
    """syscall(2): the bare result, -1 on error with errno in ctypes.get_errno()."""
    passed = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = _SYSCALL(ctypes.c_long(number), *passed)
    return result


def check(name: str, result: int) -> int:
    """`result`, or OSError with errno when it is -1; `name` of the call becomes its filename."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def call(name: str, number: int, *args: Argument) -> int:
    """A system call whose failure is an OSError that bears the call's name."""
    return check(name, syscall(number, *args))


def path(name: str | bytes | None) -> bytes | None:
    """A path or word as the kernel takes it."""
    return os.fsencode(name) if name is not None else None
