"""CRI's log format, both ways, as pure functions, and the file it goes to.

A line is `<time> <stdout|stderr> <F|P> <text>\\n`; kubelet joins P parts with the F that follows. As
containerd does, a line of more than LIMIT bytes is cut into parts of LIMIT, and a last line without
its newline becomes a P when the stream ends. Where the bytes were cut when they were read makes no
difference. Times are UTC with nine digits (kubelet parses RFC3339Nano).
"""

import contextlib
import os
import time

LIMIT = 16384  # bytes of a line's text, containerd's max_container_log_line_size

_second = -1
_second_text = ""


def stamp(at: int) -> bytes:
    """A moment (ns since the epoch) as the log has it."""
    global _second, _second_text
    second, rest = divmod(at, 1_000_000_000)
    if second != _second:
        _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second
    return b"%b.%09dZ" % (_second_text.encode(), rest)


def render(tail: bytes, block: bytes, head: bytes, *, end: bool = False) -> tuple[bytes, bytes]:
    """What to write for `block` that follows the unfinished line `tail`, and the new unfinished line.

    `head` is b"<time> <stream> ". With `end` nothing is left unfinished.
    """
    data = tail + block if tail else block
    cut = data.rfind(b"\n") + 1
    out = _lines(data[:cut], head) if cut else b""
    rest = data[cut:]
    if len(rest) > LIMIT:
        parts, rest = _parts(rest, head)
        out += parts
    if end and rest:
        return b"%b%bP %b\n" % (out, head, rest), b""
    return out, rest


def _lines(body: bytes, head: bytes) -> bytes:
    """Whole lines. The usual case is one replace over the whole block (FLOORS.md, 8)."""
    full = head + b"F "
    if not _has_long(body):
        return full + body[:-1].replace(b"\n", b"\n" + full) + b"\n"
    out = []
    for line in body[:-1].split(b"\n"):
        parts, rest = _parts(line, head)
        out.append(b"%b%b%b\n" % (parts, full, rest))
    return b"".join(out)


def _has_long(body: bytes) -> bool:
    at = 0
    while len(body) - at > LIMIT + 1:
        newline = body.rfind(b"\n", at, at + LIMIT + 1)
        if newline < 0:
            return True
        at = newline + 1
    return False


def _parts(line: bytes, head: bytes) -> tuple[bytes, bytes]:
    """The parts of a long line, and its last piece, of at most LIMIT bytes."""
    out = []
    while len(line) > LIMIT:
        out.append(b"%bP %b\n" % (head, line[:LIMIT]))
        line = line[LIMIT:]
    return b"".join(out), line


def parse(data: bytes, stream: bytes) -> tuple[bytes, int]:
    """The text of one stream in a piece of log, and how many bytes of the piece were whole lines."""
    cut = data.rfind(b"\n") + 1
    found = []
    for line in data[: cut - 1].split(b"\n") if cut else []:
        words = line.split(b" ", 3)
        if len(words) == 4 and words[1] == stream:
            found.append(words[3] + b"\n" if words[2] == b"F" else words[3])
    return b"".join(found), cut


class LogFile:
    """One log file, open for as long as anyone holds this object. `next` is the one that replaced it.

    It is the container's log number `number`; its text begins at `start`, and before it `before` bytes of
    each stream were logged. `refused` is the errno with which the last write failed, 0 if it did not.
    """

    __slots__ = ("before", "fd", "next", "number", "refused", "start")

    def __init__(self, fd: int, number: int = 0, start: int = -1, before: tuple[int, int] = (0, 0)) -> None:
        self.fd = fd
        self.number = number
        self.start = start if start >= 0 else self.size()
        self.before = dict(zip((b"stdout", b"stderr"), before, strict=True))
        self.next: LogFile | None = None
        self.refused = 0

    def __del__(self) -> None:
        os.close(self.fd)

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def write(self, data: bytes, base: int) -> bool:
        """Write at `base`. False when the disk takes no more, whatever it says: then nothing of it stays,
        because a container must not hang on its log's disk, and half a line would spoil the file."""
        view, at = memoryview(data), base
        while view:
            try:
                written = os.pwrite(self.fd, view, at)
            except OSError as error:
                self.refused = error.errno or 0
                with contextlib.suppress(OSError):  # what cannot be written may not be cut either
                    os.ftruncate(self.fd, base)
                return False
            view, at = view[written:], at + written
        self.refused = 0
        return True

    def read(self, at: int, count: int) -> bytes:
        return os.pread(self.fd, count, at)


def open_log(path: str, number: int = 0, before: tuple[int, int] = (0, 0)) -> LogFile:
    """Open or make the file at `path`, to continue at its end. Raises OSError.

    A last line that was cut short, because all who knew its rest were killed, is taken off.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    size = os.fstat(fd).st_size
    begin = max(0, size - 2 * LIMIT)
    end = os.pread(fd, size - begin, begin)
    if end[-1:] not in (b"", b"\n"):
        os.ftruncate(fd, begin + end.rfind(b"\n") + 1)
    return LogFile(fd, number, -1, before)
