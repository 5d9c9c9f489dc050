"""Device rules: runtime-spec's list → devices.allow/deny on v1, an eBPF program on v2.

The list is a history: each rule changes what the ones before it left. `normalised` plays it as the
v1 device controller does, so that both versions answer alike. Sources: cgroup-v1/devices.rst,
bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

from cribus.errors import InvalidArgument, PermissionDenied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_MKNOD, _READ, _WRITE
_KIND = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, _CHAR
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI = 15, 6, 2
_SYSCALL = {"x86_64": 321, "aarch64": 280}


def v1_lines(rules: list[dict[str, Any]]) -> list[str]:
    """One line a rule, in order: `+` (devices.allow) or `-` (devices.deny) and what is written."""
    lines = []
    for rule in rules:
        kind, major, minor, access = _parts(rule)
        sign = "+" if rule.get("allow") else "-"
        text = "a" if kind == "a" and major < 0 and minor < 0 else f"{kind} {_star(major)}:{_star(minor)} {access}"
        lines.append(sign + text)
    return lines


def normalised(rules: list[dict[str, Any]]) -> tuple[bool, dict[tuple[str, int, int], int]]:
    """(what holds for a device that no exception names, exceptions (kind, major, minor) → access bits).

    A cgroup that was given no rule for all devices allows everything, as a new one does.
    """
    default, exceptions = True, dict[tuple[str, int, int], int]()
    for rule in rules:
        kind, major, minor, access = _parts(rule)
        allow = bool(rule.get("allow"))
        bits = sum(_ACCESS[letter] for letter in set(access))
        if kind == "a" and major < 0 and minor < 0 and bits == 7:
            default, exceptions = allow, {}
            continue
        for one in ("b", "c") if kind == "a" else (kind,):
            key = (one, major, minor)
            have = exceptions.get(key, 0)
            exceptions[key] = have | bits if allow != default else have & ~bits
    return default, {key: bits for key, bits in exceptions.items() if bits}


def program(default: bool, exceptions: dict[tuple[str, int, int], int]) -> bytes:
    """The eBPF instructions: 1 in r0 permits. Context: access << 16 | kind, major, minor (u32 each)."""
    code = [
        _ins(0x61, (2, 1), 0),  # r2 = word at context + 0
        _ins(0xBC, (3, 2)),  # r3 = r2
        _ins(0x54, (2, 0), imm=0xFFFF),  # r2 = kind
        _ins(0x74, (3, 0), imm=16),  # r3 = access
        _ins(0x61, (4, 1), 4),  # r4 = major
        _ins(0x61, (5, 1), 8),  # r5 = minor
    ]
    for (kind, major, minor), bits in exceptions.items():
        code += _exception(default, (_KIND[kind], major, minor), bits)
    code += [_ins(0xB7, (0, 0), imm=int(default)), _ins(0x95)]
    return b"".join(code)


def _exception(default: bool, device: tuple[int, int, int], bits: int) -> list[bytes]:
    """Leave with the opposite of the default for this device.

    To be allowed every bit asked for must be in the exception; to be denied one is enough.
    """
    kind, major, minor = device
    tests = [(0x55, 2, kind)]  # jump on if r2 != kind
    body = [_ins(0xBC, (6, 3)), _ins(0x54, (6, 0), imm=bits if default else 7 & ~bits)]
    tests.append((0x15 if default else 0x55, 6, 0))
    tests += [(0x55, register, value) for register, value in ((4, major), (5, minor)) if value >= 0]
    after = [_ins(0xB7, (0, 0), imm=int(not default)), _ins(0x95)]
    out: list[bytes] = []
    total = len(tests) + len(body) + len(after)
    for at, (opcode, register, value) in enumerate(tests):
        if at == 1:
            out += body
        out.append(_ins(opcode, (register, 0), offset=total - len(out) - 1, imm=value))
    return out + after


def attach(directory: str, rules: list[dict[str, Any]]) -> None:
    """Put the rules on a v2 cgroup in place of those it had. Raises PermissionDenied or OSError."""
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = _attached(group)
        loaded = _load(program(*normalised(rules)))
        try:
            _bpf(_PROG_ATTACH, struct.pack("=IIII", group, loaded, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI))
        finally:
            os.close(loaded)
        for number in before:
            old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))
            try:
                _bpf(_PROG_DETACH, struct.pack("=IIII", group, old, _CGROUP_DEVICE_ATTACH, 0))
            finally:
                os.close(old)
    finally:
        os.close(group)


def _attached(group: int) -> list[int]:
    """Ids of the device programs attached to the cgroup itself."""
    ids = (ctypes.c_uint32 * 64)()
    query = struct.pack("=IIIIQII", group, _CGROUP_DEVICE_ATTACH, 0, 0, ctypes.addressof(ids), 64, 0)
    attributes = ctypes.create_string_buffer(query + bytes(40), len(query) + 40)
    _call(_PROG_QUERY, attributes)
    count: int = struct.unpack_from("=I", attributes.raw, 24)[0]
    return list(ids[:count])


def _load(code: bytes) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache")
    head = struct.pack(
        "=IIQQIIQII", _CGROUP_DEVICE_PROGRAM, len(code) // 8, ctypes.addressof(instructions),
        ctypes.addressof(licence), 0, 0, 0, 0, 0,
    )  # fmt: skip
    return _bpf(_PROG_LOAD, head)


def _bpf(command: int, attributes: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(_SYSCALL[os.uname().machine])
    result: int = libc.syscall(number, command, ctypes.byref(attributes), len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        if code == 1:
            raise PermissionDenied("bpf(2) is not permitted: device rules on cgroup v2 need CAP_BPF or CAP_SYS_ADMIN")
        raise OSError(code, os.strerror(code), "bpf")
    return result


def _ins(opcode: int, registers: tuple[int, int] = (0, 0), offset: int = 0, imm: int = 0) -> bytes:
    """struct bpf_insn; `registers` are destination and source."""
    return struct.pack("=BBhi", opcode, registers[1] << 4 | registers[0], offset, imm)


def _parts(rule: dict[str, Any]) -> tuple[str, int, int, str]:
    kind = rule.get("type") or "a"
    access = rule.get("access") or "rwm"
    if kind not in ("a", "b", "c") or set(access) - set("rwm"):
        raise InvalidArgument(f"device rule {rule} is wrong: type is a, b or c, access of r, w and m")
    major, minor = rule.get("major"), rule.get("minor")
    return kind, -1 if major is None else major, -1 if minor is None else minor, access


def _star(number: int) -> str:
    return "*" if number < 0 else str(number)
