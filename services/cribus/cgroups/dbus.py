"""Just enough D-Bus to call a method of systemd and read whether it worked.

Source: D-Bus specification, "Marshaling (Wire Format)", "Message Protocol", "Authentication Protocol".
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8


class Writer:
    """Marshals values, little-endian, each at its natural alignment."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def u32(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def u64(self, value: int) -> None:
        self.align(8)
        self.data += struct.pack("<Q", value)

    def string(self, text: str) -> None:
        self.u32(len(text.encode()))
        self.data += text.encode() + b"\0"

    def signature(self, text: str) -> None:
        self.data += bytes([len(text)]) + text.encode() + b"\0"

    def array(self, alignment: int, elements: list[Callable[[], None]]) -> None:
        """The elements' functions write them here; the length counts from the first, without padding."""
        self.u32(0)
        where = len(self.data) - 4
        self.align(alignment)
        start = len(self.data)
        for element in elements:
            element()
        struct.pack_into("<I", self.data, where, len(self.data) - start)

    def variant(self, signature: str, value: object) -> None:
        """A variant of type s, o, g, u, b, t, ay or au."""
        self.signature(signature)
        if signature == "g":
            self.signature(str(value))
        elif isinstance(value, str):
            self.string(value)
        elif isinstance(value, bytes):
            self.u32(len(value))
            self.data += value
        elif signature == "t":
            self.u64(int(value))  # type: ignore[call-overload]
        elif isinstance(value, list):
            self.array(4, [lambda one=one: self.u32(one) for one in value])  # type: ignore[misc]
        else:
            self.u32(int(value))  # type: ignore[call-overload]

    def named(self, name: str, signature: str, value: object) -> None:
        """(sv): a property."""
        self.align(8)
        self.string(name)
        self.variant(signature, value)


class Failed(Exception):
    """The peer answered with an error; `name` is its D-Bus name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def message(serial: int, fields: list[tuple[int, str, object]], body: bytes) -> bytes:
    """A method call: `fields` are the header's (code, signature, value)."""
    head = Writer()
    head.data += struct.pack("<BBBBII", ord("l"), _CALL, 0, 1, len(body), serial)

    def field(one: tuple[int, str, object]) -> None:
        head.align(8)
        head.data.append(one[0])
        head.variant(one[1], one[2])

    head.array(8, [lambda one=one: field(one) for one in fields])  # type: ignore[misc]
    head.align(8)
    return bytes(head.data) + body


class Connection:
    """One connection to a bus. Every wait has the time-out given. Raises OSError, Failed."""

    def __init__(self, path: str, seconds: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._serial = 0
        try:
            self._socket.connect(path)
            self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
            line = self._line()
            if not line.startswith(b"OK "):
                raise Failed("auth", line.decode(errors="replace"))
            self._socket.sendall(b"BEGIN\r\n")
            self.call(("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"), "Hello", "", b"")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def call(self, target: tuple[str, str, str], member: str, signature: str, body: bytes) -> None:
        """Call `member` at (destination, path, interface) and wait for its answer, which is dropped."""
        self._serial += 1
        destination, path, interface = target
        fields: list[tuple[int, str, object]] = [
            (_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", member), (_DESTINATION, "s", destination),
        ]  # fmt: skip
        if signature:
            fields.append((_SIGNATURE, "g", signature))
        self._socket.sendall(message(self._serial, fields, body))
        while not self._answered():
            pass

    def _answered(self) -> bool:
        """Read one message; True when it answers the last call. Signals are dropped."""
        head = self._exactly(16)
        order = "<" if head[:1] == b"l" else ">"
        kind = head[1]
        length, _, fields_length = struct.unpack(order + "III", head[4:16])
        fields = _fields(self._exactly((fields_length + 7) // 8 * 8)[:fields_length], order)
        body = self._exactly(length)
        if kind not in (_RETURN, _ERROR) or fields.get(_REPLY_SERIAL) != self._serial:
            return False
        if kind == _ERROR:
            text = body[4:].partition(b"\0")[0] if str(fields.get(_SIGNATURE, "")).startswith("s") else b""
            raise Failed(str(fields.get(_ERROR_NAME, "")), text.decode(errors="replace"))
        return True

    def _line(self) -> bytes:
        data = b""
        while not data.endswith(b"\r\n"):
            data += self._exactly(1)
        return data

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the bus closed the connection")
            data += part
        return data


def _fields(data: bytes, order: str) -> dict[int, str | int]:
    """The header's fields; the types there are only s, o, g and u."""
    found: dict[int, str | int] = {}
    at = 0
    while at < len(data):
        at = (at + 7) // 8 * 8
        code, kind = data[at], chr(data[at + 2])
        at += 4
        if kind == "g":
            size = data[at]
            found[code] = data[at + 1 : at + 1 + size].decode()
            at += size + 2
            continue
        at = (at + 3) // 4 * 4
        value: int = struct.unpack_from(order + "I", data, at)[0]
        at += 4
        if kind == "u":
            found[code] = value
        else:
            found[code] = data[at : at + value].decode()
            at += value + 1
    return found
