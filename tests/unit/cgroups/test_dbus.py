"""The wire format, against a small peer and a real dbus-daemon."""

import contextlib
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from cribus.cgroups import dbus


def answer(serial: int, error: str) -> bytes:
    """A reply, or an error with the text `no`, to that call."""
    head = dbus.Writer()
    body = dbus.Writer()
    if error:
        body.string("no")
    head.data += struct.pack("<BBBBII", ord("l"), 3 if error else 2, 0, 1, len(body.data), 9)
    fields: list[tuple[int, str, object]] = [(5, "u", serial)]
    fields += [(4, "s", error), (8, "g", "s")] if error else []

    def field(one: tuple[int, str, object]) -> None:
        head.align(8)
        head.data.append(one[0])
        head.variant(one[1], one[2])

    head.array(8, [lambda one=one: field(one) for one in fields])  # type: ignore[misc]
    head.align(8)
    return bytes(head.data + body.data)


def serve(listener: socket.socket, heard: list[bytes], error: str) -> None:
    """Answer Hello, and the second call with `error` (empty: success)."""
    with contextlib.closing(listener.accept()[0]) as peer:
        peer.settimeout(5)
        assert peer.recv(200).startswith(b"\0AUTH EXTERNAL ")
        peer.sendall(b"OK 1234\r\n")
        data = peer.recv(4096).removeprefix(b"BEGIN\r\n") or peer.recv(4096)
        heard.append(data)
        peer.sendall(answer(1, ""))
        heard.append(peer.recv(4096))
        peer.sendall(answer(2, error))


def test_alignment_and_arrays() -> None:
    writer = dbus.Writer()
    writer.data += b"\1"
    writer.u32(7)
    assert writer.data == b"\1\0\0\0\7\0\0\0"
    writer = dbus.Writer()
    writer.array(8, [lambda: writer.named("ab", "b", True)])
    assert writer.data == b"\x10\0\0\0\0\0\0\0\2\0\0\0ab\0\1b\0\0\0\1\0\0\0"
    assert len(writer.data) == 8 + struct.unpack("<I", writer.data[:4])[0]


def test_an_error_has_its_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/bus")
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, [], "some.Name"))
        thread.start()
        connection = dbus.Connection(f"{tmp_path}/bus", 5)
        with pytest.raises(dbus.Failed, match="no") as failed:
            connection.call(("a.b", "/a", "a.b"), "Do", "", b"")
        connection.close()
        thread.join(5)
    assert failed.value.name == "some.Name"


def test_a_real_bus_understands_us(tmp_path: Path) -> None:
    arguments = ["--session", "--nofork", "--print-address=1", f"--address=unix:path={tmp_path}/bus"]
    with subprocess.Popen(["dbus-daemon", *arguments], stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            connection = dbus.Connection(f"{tmp_path}/bus", 5)
            body = dbus.Writer()
            body.string("org.freedesktop.DBus")
            target = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
            connection.call(target, "GetNameOwner", "s", bytes(body.data))
            with pytest.raises(dbus.Failed):
                connection.call(target, "NoSuchMethod", "s", bytes(body.data))
            connection.close()
        finally:
            daemon.terminate()
