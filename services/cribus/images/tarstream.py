"""Reading a tar stream, front to back, without seeking: ustar, pax and GNU.

Sources: POSIX pax (ustar interchange format), GNU tar's manual for types L, K and S and for sparse
files in pax headers (GNU.sparse.*).
"""

from collections.abc import Iterator

from cribus.errors import DataLoss, InvalidArgument

BLOCK = 512
_SMALL = 1 << 20  # bytes that one pax or long-name header may have
_ZERO = bytes(BLOCK)


class Chunks:
    """An iterator of byte chunks, read in exact pieces."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._view = memoryview(b"")

    def _fill(self) -> bool:
        for chunk in self._source:
            if chunk:
                self._view = memoryview(chunk)
                return True
        return False

    def take(self, most: int) -> memoryview:
        """At least one and at most `most` bytes; empty at the end."""
        if not self._view and not self._fill():
            return self._view
        piece, self._view = self._view[:most], self._view[most:]
        return piece

    def exact(self, count: int) -> bytes:
        """Just so many bytes. Raises DataLoss when the stream ends before."""
        piece = self.take(count)
        if len(piece) == count:
            return bytes(piece)
        parts = [bytes(piece)]
        have = len(piece)
        while have < count:
            piece = self.take(count - have)
            if not piece:
                raise DataLoss("the layer is truncated: its tar stream ends in the middle of an entry")
            parts.append(bytes(piece))
            have += len(piece)
        return b"".join(parts)

    def skip(self, count: int) -> None:
        while count > 0:
            piece = self.take(count)
            if not piece:
                raise DataLoss("the layer is truncated: its tar stream ends in the middle of an entry")
            count -= len(piece)

    def drain(self) -> None:
        """Read to the end: what hashes the stream must see all of it."""
        while self._view or self._fill():
            self._view = memoryview(b"")


class Entry:
    """One member. `size` is what follows in the stream, `real_size` the file's own."""

    __slots__ = (
        "device",
        "gid",
        "linkname",
        "mode",
        "mtime",
        "name",
        "real_size",
        "size",
        "sparse",
        "type",
        "uid",
        "xattrs",
    )

    def __init__(self) -> None:
        self.name = ""
        self.linkname = ""
        self.type = "0"
        self.mode = self.uid = self.gid = self.size = self.real_size = 0
        self.mtime = 0  # ns
        self.device = (0, 0)
        self.xattrs: dict[str, bytes] = {}
        self.sparse: list[tuple[int, int]] = []  # (offset, bytes) of the data that follows


def entries(chunks: Chunks) -> Iterator[Entry]:
    """Every member; its reader must take `size` bytes and `padding(size)` before the next."""
    pax: dict[str, bytes] = {}
    global_pax: dict[str, bytes] = {}
    long_name = long_link = b""
    while True:
        block = chunks.exact(BLOCK)
        if block == _ZERO:
            return
        kind = _checked(block)
        size = _number(block[124:136])
        if kind in "xg":
            target = pax if kind == "x" else global_pax
            target.update(_records(_small(chunks, size)))
        elif kind == "L":
            long_name = _small(chunks, size).rstrip(b"\0")
        elif kind == "K":
            long_link = _small(chunks, size).rstrip(b"\0")
        else:
            entry = _entry(block, kind, size)
            entry.name = _text(long_name) or entry.name
            entry.linkname = _text(long_link) or entry.linkname
            _apply({**global_pax, **pax}, entry)
            _sparse(chunks, block, entry, pax)
            pax, long_name, long_link = {}, b"", b""
            yield entry


def padding(size: int) -> int:
    return -size % BLOCK


def _small(chunks: Chunks, size: int) -> bytes:
    if size > _SMALL:
        raise InvalidArgument(f"a tar header of {size} bytes is refused; {_SMALL} are enough for any name")
    data = chunks.exact(size)
    chunks.skip(padding(size))
    return data


def _checked(block: bytes) -> str:
    stored = _number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != total:
        raise DataLoss("the layer is no tar stream: a header's checksum is wrong")
    return chr(block[156]) if block[156] else "0"


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, for what octal digits cannot hold
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return value - (1 << (len(field) * 8 - 2)) * 2 if field[0] == 0xFF else value
    text = field.split(b"\0", 1)[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise DataLoss("the layer is no tar stream: a header's number is wrong") from error


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def _cut(field: bytes) -> str:
    return _text(field.split(b"\0", 1)[0])


def _entry(block: bytes, kind: str, size: int) -> Entry:
    entry = Entry()
    entry.type = kind
    entry.name = _cut(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        entry.name = f"{_cut(block[345:500])}/{entry.name}"
    entry.mode = _number(block[100:108]) & 0o7777
    entry.uid, entry.gid = _number(block[108:116]), _number(block[116:124])
    entry.size = entry.real_size = size if kind in "07SA" else 0
    entry.mtime = _number(block[136:148]) * 1_000_000_000
    entry.linkname = _cut(block[157:257])
    if kind in "34":
        entry.device = (_number(block[329:337]), _number(block[337:345]))
    return entry


def _records(data: bytes) -> dict[str, bytes]:
    """pax records: `length key=value\\n`."""
    found = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at)
        try:
            length = int(data[at:space])
            record = data[space + 1 : at + length]
            key, equals, value = record.partition(b"=")
        except ValueError as error:
            raise DataLoss("the layer is no tar stream: a pax header is wrong") from error
        if length < 5 or not equals or record[-1:] != b"\n":
            raise DataLoss("the layer is no tar stream: a pax header is wrong")
        found[_text(key)] = value[:-1]
        at += length
    return found


def _apply(pax: dict[str, bytes], entry: Entry) -> None:
    try:
        for key, value in pax.items():
            if key == "path":
                entry.name = _text(value)
            elif key == "linkpath":
                entry.linkname = _text(value)
            elif key == "size" and entry.type in "07":
                entry.size = entry.real_size = int(value)
            elif key in ("uid", "gid"):
                setattr(entry, key, int(value))
            elif key == "mtime":
                whole, _, fraction = value.decode().partition(".")
                entry.mtime = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)
            elif key.startswith("SCHILY.xattr."):
                entry.xattrs[key[13:]] = value
    except ValueError as error:
        raise DataLoss("the layer is no tar stream: a pax value is wrong") from error
    if entry.size < 0 or entry.uid < 0 or entry.gid < 0:
        raise DataLoss("the layer is no tar stream: a size or owner is negative")


def _sparse(chunks: Chunks, block: bytes, entry: Entry, pax: dict[str, bytes]) -> None:
    """The map of a sparse file, in each of the four ways that GNU tar has written it."""
    if entry.type == "S":
        entry.type = "0"
        entry.real_size = _number(block[483:495])
        fields, more = block[386:482], block[482]
        while True:
            for at in range(0, len(fields) - 23, 24):
                if fields[at]:
                    entry.sparse.append((_number(fields[at : at + 12]), _number(fields[at + 12 : at + 24])))
            if not more:
                break
            extension = chunks.exact(BLOCK)
            fields, more = extension[:504], extension[504]
    elif pax.get("GNU.sparse.major") == b"1":
        entry.name = _text(pax.get("GNU.sparse.name", b"")) or entry.name
        entry.real_size = int(pax.get("GNU.sparse.realsize", b"0"))
        _sparse_in_data(chunks, entry)
    elif "GNU.sparse.map" in pax:
        numbers = [int(one) for one in pax["GNU.sparse.map"].split(b",")]
        entry.sparse = list(zip(numbers[::2], numbers[1::2], strict=True))
        entry.name = _text(pax.get("GNU.sparse.name", b"")) or entry.name
        entry.real_size = int(pax.get("GNU.sparse.size", b"0"))


def _sparse_in_data(chunks: Chunks, entry: Entry) -> None:
    """Version 1.0: decimal numbers, a line each, fill the first blocks of the data."""
    text = b""
    used = 0
    numbers: list[bytes] = []
    while len(numbers) < 1 or len(numbers) < 1 + 2 * int(numbers[0]):
        text += chunks.exact(BLOCK)
        used += BLOCK
        numbers = text.split(b"\n")[:-1]
        if used > _SMALL:
            raise InvalidArgument("a sparse file's map is too long")
    values = [int(one) for one in numbers[1 : 1 + 2 * int(numbers[0])]]
    entry.sparse = list(zip(values[::2], values[1::2], strict=True))
    entry.size -= used
