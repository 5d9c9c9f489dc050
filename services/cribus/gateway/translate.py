"""CRI's protobuf messages ⇄ the structures of api/cri: one converter for all of them.

Names are the same on both sides, so a pair of types is compiled once, from its descriptor, into
closures a field. The exceptions are few: a wrapped integer is `int | None`, a wrapped state is an
enumeration or None, an enumeration is an IntEnum, and what only Windows has is not carried.
"""

import enum
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message as Proto
from google.protobuf.message_factory import GetMessageClass

from cribus.api.verb import Message
from cribus.errors import InvalidArgument

Read = Callable[[Any], Any]
Write = Callable[[Any, Any], None]

# Messages of one field that stand for "a value or nothing": the field's name.
_WRAPPERS = {
    "runtime.v1.Int64Value": "value",
    "runtime.v1.UInt64Value": "value",
    "runtime.v1.PodSandboxStateValue": "state",
    "runtime.v1.ContainerStateValue": "state",
}


@cache
def reader(source: Descriptor, target: type[Message]) -> Callable[[Proto], Any]:
    """The function that turns a protobuf message of type `source` into a `target`.

    It raises InvalidArgument for an enumeration's value that this version does not know.
    """
    types_of = {field.name: field.type for field in msgspec.structs.fields(target)}
    reads = {
        field.number: (field.name, _field_reader(field, types_of[field.name]))
        for field in source.fields
        if field.name in types_of
    }

    def read(proto: Proto) -> Any:
        # ListFields names only what differs from its default, which is what the structure wants.
        values = {}
        for field, value in proto.ListFields():
            known = reads.get(field.number)
            if known is not None:
                name, convert = known
                values[name] = value if convert is None else convert(value)
        return target(**values)

    return read


def _field_reader(field: FieldDescriptor, annotation: Any) -> Read | None:
    """How one field's value is read; None where it may be taken as it is."""
    if _is_map(field):
        return dict
    one = _value_reader(field, _inner(annotation))
    if not field.is_repeated:
        return one
    return list if one is None else lambda values: [one(value) for value in values]


def _value_reader(field: FieldDescriptor, kind: Any) -> Read | None:
    if field.message_type is None:
        return None if field.enum_type is None else _enum_reader(field, kind)
    wrapped = _WRAPPERS.get(field.message_type.full_name)
    if wrapped is None:
        return reader(field.message_type, kind)
    inner = _value_reader(field.message_type.fields_by_name[wrapped], kind)
    if inner is None:
        return lambda proto: getattr(proto, wrapped)
    return lambda proto: inner(getattr(proto, wrapped))


def _enum_reader(field: FieldDescriptor, kind: type[enum.IntEnum]) -> Read:
    known = {member.value: member for member in kind}

    def read(value: int) -> enum.IntEnum:
        if value not in known:
            raise InvalidArgument(f"{field.full_name} has value {value}, which this version of cribus does not know")
        return known[value]

    return read


@cache
def writer(source: type[Message], target: Descriptor) -> Callable[[Any], Any]:
    """The function that turns a `source` structure into a protobuf message of type `target`."""
    make = GetMessageClass(target)
    fill = _filler(source, target)

    def write(message: Message) -> Any:
        proto = make()
        fill(message, proto)
        return proto

    return write


@cache
def _filler(source: type[Message], target: Descriptor) -> Write:
    """Fill a message in place: a message built apart would be copied into its parent."""
    writes = [
        (field.name, _has_presence(target.fields_by_name[field.name]), _field_writer(target, field))
        for field in msgspec.structs.fields(source)
    ]

    def fill(message: Message, proto: Any) -> None:
        for name, present, put in writes:
            value = getattr(message, name)
            # Falsy means default, but for what is there because it is not None: a wrapped zero.
            if value or (value is not None and present):
                put(value, proto)

    return fill


def _field_writer(target: Descriptor, known: msgspec.structs.FieldInfo) -> Write:
    name, field, kind = known.name, target.fields_by_name[known.name], _inner(known.type)
    if _is_map(field):
        return lambda value, proto: getattr(proto, name).update(value)
    if field.message_type is None:
        if field.is_repeated:
            return lambda value, proto: getattr(proto, name).extend(value)
        return lambda value, proto: setattr(proto, name, value)
    wrapped = _WRAPPERS.get(field.message_type.full_name)
    return _wrapped_writer(name, wrapped) if wrapped else _message_writer(field, kind)


def _wrapped_writer(name: str, inner: str) -> Write:
    def put(value: Any, proto: Any) -> None:
        wrapper = getattr(proto, name)
        wrapper.SetInParent()
        setattr(wrapper, inner, value)

    return put


def _message_writer(field: FieldDescriptor, kind: type[Message]) -> Write:
    name, fill = field.name, _filler(kind, field.message_type)

    def put_each(values: Any, proto: Any) -> None:
        add = getattr(proto, name).add
        for value in values:
            fill(value, add())

    def put_one(value: Any, proto: Any) -> None:
        child = getattr(proto, name)
        child.SetInParent()
        fill(value, child)

    return put_each if field.is_repeated else put_one


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _has_presence(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated


def _inner(annotation: Any) -> Any:
    """X of `X`, `list[X]` and `X | None`."""
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0]
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation
