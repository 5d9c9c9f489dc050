"""Messages as Protocol Buffers carry them (protobuf.dev, "Encoding", syntax proto3): what NRI needs of it,
and not more: no groups, no fixed-width numbers.

A field's number is its place in the structure, counted from the class's FIRST. A scalar `| None` is a
message of its own with the value as its field 1, which is how NRI says "not given".
"""

import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, Union

import msgspec

Unsigned = Annotated[int, "unsigned"]
M = TypeVar("M", bound="Message")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WORD = (1 << 64) - 1
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class Malformed(Exception):
    """Bytes that are no message of the expected type."""


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Fields need defaults: the wire leaves out what is zero, false or empty."""

    FIRST: ClassVar[int] = 1


class Kind(NamedTuple):
    """How one value travels."""

    wire: int
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    empty: Any


class Field(NamedTuple):
    """`shape`: one, many or map; `keys` are a map's."""

    name: str
    shape: str
    kind: Kind
    keys: Kind | None = None


def encode(message: Message) -> bytes:
    """The message's bytes. Text that is not Unicode (an environment may hold any bytes) is replaced:
    every peer refuses it."""
    out = bytearray()
    for number, field in _fields(type(message)).items():
        value = getattr(message, field.name)
        if field.shape == "map":
            _put_map(out, number, field, value)
        elif field.shape == "many":
            _put_many(out, number, field.kind, value)
        elif value is not None and value != field.kind.empty:
            _put(out, number, field.kind.wire, field.kind.pack(value))
    return bytes(out)


def decode(kind: type[M], data: bytes) -> M:
    """The message; what a newer peer added is left out. Raises Malformed."""
    known = _fields(kind)
    found: dict[str, Any] = {}
    for number, wire, raw in _parts(data):
        field = known.get(number)
        if field is None:
            continue
        if field.shape == "many":
            found.setdefault(field.name, []).extend(_many(field.kind, wire, raw))
        elif field.shape == "map":
            key, value = _entry(field, _expect(wire, _BYTES, raw))
            found.setdefault(field.name, {})[key] = value
        else:
            found[field.name] = field.kind.unpack(_expect(wire, field.kind.wire, raw))
    return kind(**found)


def plain(value: Any) -> Any:
    """A message as JSON has it. What is not given, or an empty text or list, is left out; zero and false
    are said, as readers of such documents ask for them."""
    if isinstance(value, Message):
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        return {name: one for name, one in fields.items() if one not in (None, "", [], {})}
    return [plain(one) for one in value] if isinstance(value, list) else value


# Writing


def _put(out: bytearray, number: int, wire: int, value: Any) -> None:
    _put_varint(out, number << 3 | wire)
    if wire == _VARINT:
        _put_varint(out, value)
    else:
        _put_varint(out, len(value))
        out += value


def _put_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _put_many(out: bytearray, number: int, kind: Kind, values: list[Any]) -> None:
    if kind.wire != _VARINT:
        for value in values:
            _put(out, number, _BYTES, kind.pack(value))
    elif values:
        packed = bytearray()
        for value in values:
            _put_varint(packed, kind.pack(value))
        _put(out, number, _BYTES, packed)


def _put_map(out: bytearray, number: int, field: Field, values: dict[Any, Any]) -> None:
    keys, kind = field.keys, field.kind
    assert keys is not None
    for key, value in values.items():
        entry = bytearray()
        _put(entry, 1, keys.wire, keys.pack(key))
        _put(entry, 2, kind.wire, kind.pack(value))
        _put(out, number, _BYTES, entry)


# Reading


def _parts(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, number or bytes) of each field."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in _WIDTHS:
            size = _WIDTHS[wire]
        else:
            raise Malformed(f"field {tag >> 3} has the wire type {wire}, which does not exist")
        if at + size > end:
            raise Malformed(f"field {tag >> 3} ends {at + size - end} bytes after its message")
        yield tag >> 3, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _WORD, at
    raise Malformed("a number has more than ten bytes")


def _expect(wire: int, wanted: int, raw: Any) -> Any:
    if wire != wanted:
        raise Malformed(f"a field has the wire type {wire} instead of {wanted}")
    return raw


def _many(kind: Kind, wire: int, raw: Any) -> list[Any]:
    if kind.wire != _VARINT or wire == _VARINT:
        return [kind.unpack(_expect(wire, kind.wire, raw))]
    numbers, at = [], 0
    packed = _expect(wire, _BYTES, raw)
    while at < len(packed):
        value, at = _varint(packed, at)
        numbers.append(kind.unpack(value))
    return numbers


def _entry(field: Field, data: bytes) -> tuple[Any, Any]:
    keys, kind = field.keys, field.kind
    assert keys is not None
    key, value = keys.empty, kind.unpack(b"") if kind.empty is None else kind.empty
    for number, wire, raw in _parts(data):
        if number == 1:
            key = keys.unpack(_expect(wire, keys.wire, raw))
        elif number == 2:
            value = kind.unpack(_expect(wire, kind.wire, raw))
    return key, value


# What a structure's annotations say


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _same(value: Any) -> Any:
    return value


_SCALARS: dict[Any, Kind] = {
    str: Kind(_BYTES, lambda value: value.encode(errors="replace"), _text, ""),
    bytes: Kind(_BYTES, _same, _same, b""),
    bool: Kind(_VARINT, int, bool, False),
    int: Kind(_VARINT, lambda value: value & _WORD, _signed, 0),
    Unsigned: Kind(_VARINT, lambda value: value & _WORD, _same, 0),
}
_tables: dict[type[Message], dict[int, Field]] = {}


def _fields(kind: type[Message]) -> dict[int, Field]:
    table = _tables.get(kind)
    if table is None:
        hints = typing.get_type_hints(kind, include_extras=True)
        names = kind.__struct_fields__
        table = _tables[kind] = {kind.FIRST + k: _field(name, hints[name]) for k, name in enumerate(names)}
    return table


def _field(name: str, hint: Any) -> Field:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return Field(name, "many", _kind(inside[0]))
    if origin is dict:
        return Field(name, "map", _kind(inside[1]), _kind(inside[0]))
    return Field(name, "one", _kind(hint))


def _kind(hint: Any) -> Kind:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) in (Union, types.UnionType):
        (inner,) = (one for one in typing.get_args(hint) if one is not type(None))
        return _nested(inner) if isinstance(inner, type) and issubclass(inner, Message) else _boxed(inner)
    return _nested(hint)


def _nested(kind: type[Message]) -> Kind:
    return Kind(_BYTES, encode, lambda raw: decode(kind, raw), None)


def _boxed(hint: Any) -> Kind:
    """A message whose field 1 is the value: there, though it may be zero."""
    inner = _field("value", hint)

    def pack(value: Any) -> bytes:
        out = bytearray()
        if inner.shape == "many":
            _put_many(out, 1, inner.kind, value)
        elif value != inner.kind.empty:
            _put(out, 1, inner.kind.wire, inner.kind.pack(value))
        return bytes(out)

    def unpack(raw: bytes) -> Any:
        values = [one for number, wire, part in _parts(raw) if number == 1 for one in _many(inner.kind, wire, part)]
        if inner.shape == "many":
            return values
        return values[-1] if values else inner.kind.empty

    return Kind(_BYTES, pack, unpack, None)
