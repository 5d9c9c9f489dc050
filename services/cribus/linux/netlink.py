"""Netlink messages and a socket to send them, whatever the family.

Sources: netlink(7), RFC 3549, include/uapi/linux/netlink.h.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x300, 0x200, 0x400
_ERROR, _DONE = 2, 3
_DUMP_INTR = 0x10
_EXT_ACK, _CAP_ACK = 11, 10
_SOL_NETLINK = 270
TIMEOUT = 10.0  # seconds; the kernel answers at once, unless another holds the rtnl lock


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes (NLA_F_NESTED)."""
    return attribute(kind | 0x8000, b"".join(inner))


def message(kind: int, flags: int, body: bytes) -> bytes:
    """One message without sequence number; the socket numbers it."""
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + body


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by kind, without their flags; of a repeated one the last."""
    found = {}
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found


class Socket:
    """A netlink socket in the network namespace of the thread that opens it, wherever it is used later."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.settimeout(TIMEOUT)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, *messages: bytes) -> None:
        """Send all in one datagram, wait until the last was done. Raises OSError of the first that failed."""
        first = self._sequence + 1
        batch = bytearray()
        for one in messages:
            self._sequence += 1
            numbered = bytearray(one)
            flags = struct.unpack_from("=H", one, 6)[0] | (NLM_F_ACK if one is messages[-1] else 0)
            struct.pack_into("=HI", numbered, 6, flags, self._sequence)
            batch += numbered + bytes(-len(numbered) % 4)
        self._socket.send(batch)
        failed: OSError | None = None
        while True:
            for kind, _, sequence, body in self._receive():
                if kind == _ERROR and first <= sequence:
                    failed = failed or _failure(body)
                    if sequence == self._sequence:
                        if failed is not None:
                            raise failed
                        return

    def ask(self, request: bytes) -> list[bytes]:
        """The bodies of all answers: one, or many to a dump. Raises OSError.

        A dump during which something changed may lack what was there all the time: it is made anew.
        """
        end = time.monotonic() + TIMEOUT
        while True:
            found = self._asked(request)
            if found is not None:
                return found
            if time.monotonic() > end:
                raise OSError(errno.EAGAIN, f"what is listed changed all the time for {TIMEOUT:g} s", "netlink")

    def _asked(self, request: bytes) -> list[bytes] | None:
        """None of a dump that was interrupted."""
        self._sequence += 1
        numbered = bytearray(request)
        struct.pack_into("=I", numbered, 8, self._sequence)
        self._socket.send(numbered)
        dump = struct.unpack_from("=H", request, 6)[0] & NLM_F_DUMP == NLM_F_DUMP
        found: list[bytes] = []
        whole = True
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                whole = whole and not (dump and flags & _DUMP_INTR)
                if kind == _ERROR:
                    failed = _failure(body)
                    if failed is not None:
                        raise failed
                if kind in (_DONE, _ERROR):
                    return found if whole else None
                found.append(body)
                if not dump:
                    return found

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        at = 0
        while at + 16 <= len(data):
            size, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
            yield kind, flags, sequence, data[at + 16 : at + size]
            at += (size + 3) & ~3


def _failure(body: bytes) -> OSError | None:
    """The error in an acknowledgement, with the kernel's own words where it gives some."""
    code: int = -struct.unpack_from("=i", body)[0]
    if not code:
        return None
    words = attributes(body[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")
    return OSError(code, os.strerror(code) + (f" ({words})" if words else ""), "netlink")
