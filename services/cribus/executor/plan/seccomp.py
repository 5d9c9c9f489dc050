"""runtime-spec `linux.seccomp` → a BPF program, compiled once a profile.

libseccomp does the compiling (seccomp_init(3) and its neighbours), in the bus half, where loading a
library costs nobody anything; the child in the container only installs the bytes.
Source: runtime-spec, config-linux.md, "Seccomp".
"""

import ctypes
import functools
import json
import os
from ctypes import c_char_p, c_int, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from cribus.errors import FailedPrecondition, InvalidArgument

_LIBRARY = "libseccomp.so.2"
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_TAKES_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
}
_FOREIGN = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X",
        "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)  # fmt: skip
_KIN: dict[str, tuple[str, ...]] = {
    "x86_64": ("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"),
}
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
_EPERM = 1
_EEXIST = 17
_NATIVE = 0
_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE
_BINARY_TREE = 2


class _Argument(ctypes.Structure):
    _fields_ = [("arg", c_uint), ("op", c_int), ("a", c_uint64), ("b", c_uint64)]


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise FailedPrecondition(f"{_LIBRARY} is missing; install libseccomp2, or run the pod unconfined") from error
    library.seccomp_init.restype = c_void_p
    library.seccomp_init.argtypes = [c_uint32]
    library.seccomp_release.argtypes = [c_void_p]
    library.seccomp_arch_add.argtypes = [c_void_p, c_uint32]
    library.seccomp_attr_set.argtypes = [c_void_p, c_int, c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [c_char_p]
    library.seccomp_rule_add_array.argtypes = [c_void_p, c_uint32, c_int, c_uint, c_void_p]
    library.seccomp_export_bpf.argtypes = [c_void_p, c_int]
    return library


def known() -> list[str]:
    """The actions that there are."""
    return list(_ACTIONS)


def filters(profile: dict[str, Any]) -> bool:
    """Whether it does at all: one that says nothing is none, as for runc."""
    return bool(profile.get("defaultAction") or profile.get("syscalls"))


def ignored(profile: dict[str, Any]) -> list[str]:
    """What of a profile has no effect, by name."""
    told = [name for name in ("listenerPath", "listenerMetadata") if profile.get(name)]
    found = [f"linux.seccomp.{name} is ignored: no action of the profile notifies" for name in told]
    if profile.get("defaultErrnoRet") and profile.get("defaultAction") not in _TAKES_ERRNO:
        found.append(f"linux.seccomp.defaultErrnoRet is ignored: {profile.get('defaultAction')} returns no error")
    for at, rule in enumerate(profile.get("syscalls") or []):
        if rule.get("errnoRet") and rule.get("action") not in _TAKES_ERRNO:
            found.append(f"linux.seccomp.syscalls[{at}].errnoRet is ignored: {rule.get('action')} returns no error")
    return found


def flags(profile: dict[str, Any]) -> int:
    """The seccomp(2) flags that a profile asks for. Raises InvalidArgument for one that is unknown."""
    total = 0
    for name in profile.get("flags") or []:
        if name not in _FLAGS:
            raise InvalidArgument(f"seccomp flag {name} is not supported; leave it out of the profile")
        total |= _FLAGS[name]
    return total


def compile(profile: dict[str, Any]) -> bytes:
    """The filter as struct sock_filter[] bytes.

    Raises InvalidArgument for a profile that says what does not exist, FailedPrecondition where
    libseccomp is missing.
    """
    return _compiled(json.dumps(profile, sort_keys=True))


@functools.lru_cache(maxsize=64)
def _compiled(canonical: str) -> bytes:
    profile = json.loads(canonical)
    library = _library()
    default = _action(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise InvalidArgument(f"seccomp default action {profile.get('defaultAction')!r} is refused by libseccomp")
    try:
        _add_architectures(context, profile.get("architectures") or [])
        library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)
        for rule in profile.get("syscalls") or []:
            action = _action(rule.get("action", ""), rule.get("errnoRet"))
            if action != default:
                _add_rule(context, rule, action)
        return _export(context)
    finally:
        library.seccomp_release(context)


def _action(name: str, errno_return: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidArgument(f"seccomp action {name!r} is not supported; use one of {', '.join(_ACTIONS)}")
    data = (_EPERM if errno_return is None else errno_return) if name in _TAKES_ERRNO else 0
    return _ACTIONS[name] | (data & 0xFFFF)


def _add_architectures(context: int, names: list[str]) -> None:
    for name in names:
        if name not in _ARCHITECTURES and name not in _FOREIGN:
            raise InvalidArgument(f"seccomp architecture {name!r} does not exist; an example is SCMP_ARCH_X86_64")
        # a profile lists every machine it was written for; those that are not this one's kin are no error
        if name in _ARCHITECTURES and _kin(name):
            result = _library().seccomp_arch_add(context, _ARCHITECTURES[name])
            if result not in (0, -_EEXIST):
                raise InvalidArgument(f"seccomp architecture {name}: {os.strerror(-result)}")


def _kin(name: str) -> bool:
    return name in _KIN.get(os.uname().machine, ())


def _add_rule(context: int, rule: dict[str, Any], action: int) -> None:
    arguments = _arguments(rule.get("args") or [])
    for name in rule.get("names") or []:
        number = _library().seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue  # a system call younger than this libseccomp: the default action covers it
        for group in arguments:
            array = (_Argument * len(group))(*group)
            result = _library().seccomp_rule_add_array(context, action, number, len(group), array)
            if result not in (0, -_EEXIST):
                raise InvalidArgument(f"seccomp rule for {name}: {os.strerror(-result)}")


def _arguments(specified: list[dict[str, Any]]) -> list[list[_Argument]]:
    """Conditions that must all hold, as one group; those on one argument are alternatives, a group each.

    runc does so too, because libseccomp takes one condition an argument.
    """
    made = []
    for one in specified:
        if one.get("op") not in _OPERATORS:
            raise InvalidArgument(f"seccomp operator {one.get('op')!r} is not supported; use one of {list(_OPERATORS)}")
        if not 0 <= one.get("index", 0) <= 5:
            raise InvalidArgument(f"seccomp argument index {one.get('index')} is out of range; a call has 0 to 5")
        made.append(_Argument(one.get("index", 0), _OPERATORS[one["op"]], one.get("value", 0), one.get("valueTwo", 0)))
    indexes = [one.arg for one in made]
    if len(set(indexes)) == len(indexes):
        return [made]
    return [[one] for one in made]


def _export(context: int) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        result = _library().seccomp_export_bpf(context, descriptor)
        if result:
            raise InvalidArgument(f"seccomp profile does not compile: {os.strerror(-result)}")
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
