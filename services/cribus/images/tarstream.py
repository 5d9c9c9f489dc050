"""Reading a tar stream, front to back, without seeking: ustar, pax and GNU.

Sources: POSIX pax (ustar interchange format), GNU tar's manual for types L, K and S and for sparse
files in pax headers (GNU.sparse.*).
"""

from collections.abc import Iterator

from cribus.errors import DataLoss, InvalidArgument

BLOCK = 512
_SMALL = 1 << 20  # bytes that one pax or long-name header may have
_ZERO = bytes(BLOCK)
_SECONDS = (-(1 << 31), 1 << 34)  # of a time: what ext4 can hold
_HIGHEST_ID = (1 << 32) - 2
_DATA = "07S"  # types that data follows; others have none whatever their size says
_PAX_PIECES = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_MAP = "GNU.sparse.map"
_PAX_MAPS = ("GNU.sparse.major", _MAP)
_REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


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

    def ended(self) -> bool:
        return not self._view and not self._fill()

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
    """Every member; its reader must take `size` bytes and the padding before the next.

    A stream that just ends where a header could begin is whole too: some writers leave out the zeros.
    """
    pax: dict[str, bytes] = {}
    global_pax: dict[str, bytes] = {}
    long_name = long_link = b""
    while not chunks.ended():
        block = chunks.exact(BLOCK)
        if block == _ZERO:
            return
        kind, size = _checked(block), _number(block[124:136])
        if kind == "x":
            pax.update(_records(_small(chunks, size)))
        elif kind == "g":
            global_pax.update(_records(_small(chunks, size)))
        elif kind == "L":
            long_name = _small(chunks, size).split(b"\0", 1)[0]
        elif kind == "K":
            long_link = _small(chunks, size).split(b"\0", 1)[0]
        else:
            entry = _entry(block, kind, size)
            if long_name:
                entry.name = _text(long_name)
            if long_link:
                entry.linkname = _text(long_link)
            if pax or global_pax or kind == "S":
                _apply({**global_pax, **pax}, entry)
                _sparse(chunks, block, entry, pax)
            _check(entry)
            pax, long_name, long_link = {}, b"", b""
            yield entry


def padding(size: int) -> int:
    return -size % BLOCK


def _small(chunks: Chunks, size: int) -> bytes:
    if not 0 <= size <= _SMALL:
        raise InvalidArgument(f"a tar header of {size} bytes is refused; {_SMALL} are enough for any name")
    data = chunks.exact(size)
    chunks.skip(padding(size))
    return data


def _checked(block: bytes) -> str:
    """A header's type, once its checksum holds (bytes added up, the checksum's own as blanks)."""
    if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 256:
        signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
        if _number(block[148:156]) != signed:  # as some old writers did
            raise DataLoss("the layer is no tar stream: a header's checksum is wrong")
    return chr(block[156]) if block[156] else "0"


def _number(field: bytes) -> int:
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError:  # as nearly no writer does it
        return _strange_number(field)


def _strange_number(field: bytes) -> int:
    if field[0] == 0xFF:  # base 256, for what octal digits cannot hold
        return int.from_bytes(field, "big", signed=True)
    if field[0] & 0x80:
        return int.from_bytes(field, "big") - (1 << (len(field) * 8 - 1))
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
    entry.name = _cut(block[:100])
    if block[345] and block[257:263] == b"ustar\0":
        entry.name = f"{_cut(block[345:500])}/{entry.name}"
    entry.type = "5" if kind == "0" and entry.name.endswith("/") else kind  # as tar did before there was 5
    entry.mode = _number(block[100:108]) & 0o7777
    entry.uid, entry.gid = _number(block[108:116]), _number(block[116:124])
    entry.size = entry.real_size = size if kind in _DATA else 0
    entry.mtime = _number(block[136:148]) * 1_000_000_000
    if block[157]:
        entry.linkname = _cut(block[157:257])
    if kind in "34":
        entry.device = (_number(block[329:337]), _number(block[337:345]))
    return entry


def _records(data: bytes) -> dict[str, bytes]:
    """pax records: `length key=value\\n`."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at)
        digits = data[at:space]
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        key, equals, value = data[space + 1 : at + length].partition(b"=")
        if length < 5 or not equals or value[-1:] != b"\n":
            raise DataLoss("the layer is no tar stream: a pax header is wrong")
        at += length
        if key in _PAX_PIECES:  # version 0.0 of sparse files repeats these keys
            found["GNU.sparse.map"] = (found.get("GNU.sparse.map", b"") + b"," + value[:-1]).lstrip(b",")
        else:
            found[_text(key)] = value[:-1]
    return found


def _apply(pax: dict[str, bytes], entry: Entry) -> None:
    try:
        for key, value in pax.items():
            if key == "path":
                entry.name = _text(value)
            elif key == "linkpath":
                entry.linkname = _text(value)
            elif key == "size" and entry.type in _DATA:
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


def _check(entry: Entry) -> None:
    """What the kernel would not take as a number of its kind, and names that it would cut."""
    if entry.size < 0 or entry.real_size < 0:
        raise DataLoss("the layer is no tar stream: a size is negative")
    if not (0 <= entry.uid <= _HIGHEST_ID and 0 <= entry.gid <= _HIGHEST_ID):
        raise InvalidArgument(f"the layer's entry {entry.name!r} has an owner that no system can have")
    if not (0 <= entry.device[0] < 1 << 12 and 0 <= entry.device[1] < 1 << 20):
        raise InvalidArgument(f"the layer's entry {entry.name!r} is a device with a number that no device has")
    if "\0" in entry.name or "\0" in entry.linkname:
        raise InvalidArgument("the layer has a name with a zero byte")
    low, high = _SECONDS
    entry.mtime = max(low * 1_000_000_000, min(entry.mtime, high * 1_000_000_000))


def _sparse(chunks: Chunks, block: bytes, entry: Entry, pax: dict[str, bytes]) -> None:
    """The map of a sparse file, in each of the four ways that GNU tar has written it."""
    try:
        if entry.type == "S":
            _sparse_in_headers(chunks, block, entry)
        elif any(key in pax for key in _PAX_MAPS):
            entry.name = _text(pax.get("GNU.sparse.name", b"")) or entry.name
            entry.real_size = int(pax.get("GNU.sparse.realsize", pax.get("GNU.sparse.size", b"")))
            if _MAP in pax:
                _map(entry, pax[_MAP].split(b","))
            elif pax["GNU.sparse.major"] == b"1":
                _sparse_in_data(chunks, entry)
    except ValueError as error:
        raise DataLoss(f"the layer is no tar stream: the map of sparse file {entry.name!r} is wrong") from error


def _map(entry: Entry, numbers: list[bytes]) -> None:
    values = [int(one) for one in numbers]
    entry.sparse = list(zip(values[::2], values[1::2], strict=True)) or [(0, 0)]


def _sparse_in_headers(chunks: Chunks, block: bytes, entry: Entry) -> None:
    """The old GNU way: four pieces in the header, then 21 in each extension header."""
    entry.type = "0"
    entry.real_size = _number(block[483:495])
    fields, more = block[386:482], block[482]
    while True:
        for at in range(0, len(fields) - 23, 24):
            if fields[at]:
                entry.sparse.append((_number(fields[at : at + 12]), _number(fields[at + 12 : at + 24])))
        if not more:
            return
        if len(entry.sparse) > _SMALL // 24:
            raise InvalidArgument("a sparse file's map is too long")
        extension = chunks.exact(BLOCK)
        fields, more = extension[:504], extension[504]


def _sparse_in_data(chunks: Chunks, entry: Entry) -> None:
    """Version 1.0: decimal numbers, a line each, fill the first blocks of the data."""
    text = b""
    have, wanted = 0, 1  # lines
    while have < wanted:
        if len(text) >= min(_SMALL, entry.size):
            raise InvalidArgument("a sparse file's map is too long")
        block = chunks.exact(BLOCK)
        text += block
        have += block.count(b"\n")
        if wanted == 1 and have:
            wanted += 2 * int(text.split(b"\n", 1)[0])
    _map(entry, text.split(b"\n")[1:wanted])
    entry.size -= len(text)
