"""Every CRI message goes both ways unchanged; the values are made from the descriptors."""

import inspect
from typing import Any

import pytest
from cribus.api.cri import container, image, runtime, sandbox, security, stats
from cribus.api.cri.values import NamespaceMode, PodSandboxState
from cribus.api.verb import Message
from cribus.errors import InvalidArgument
from cribus.gateway import translate
from cribus.gateway.cri import api_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

STRUCTS: dict[str, type[Message]] = {
    name: kind
    for module in (container, image, runtime, sandbox, security, stats)
    for name, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Message) and kind is not Message
}
NOT_CARRIED = {"Int64Value", "UInt64Value", "PodSandboxStateValue", "ContainerStateValue"}
MESSAGES: dict[str, Descriptor] = dict(api_pb2.DESCRIPTOR.message_types_by_name)


def _scalar(field: FieldDescriptor, seed: int) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = f"{field.name}-{seed}-é"
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return seed + 0.5
    return 2**63 + seed if field.type == FieldDescriptor.TYPE_UINT64 else seed


def _windows(descriptor: Descriptor | None) -> bool:
    return descriptor is not None and descriptor.name.startswith("Windows")


def _fill(proto: Any, empty: bool = False) -> Any:
    """Set every field that is carried; `empty` leaves the messages inside without content."""
    for seed, field in enumerate(proto.DESCRIPTOR.fields, 1):
        if _windows(field.message_type):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(proto, field.name).update({"a": "1", "b": ""})
        elif field.message_type is not None:
            for child in [getattr(proto, field.name).add() for _ in (1, 2)] if field.is_repeated else [None]:
                inner = getattr(proto, field.name) if child is None else child
                inner.SetInParent()
                if not empty:
                    _fill(inner)
        elif field.is_repeated:
            getattr(proto, field.name).extend([_scalar(field, seed), _scalar(field, seed + 1)])
        else:
            setattr(proto, field.name, _scalar(field, seed))
    return proto


def test_every_message_has_its_structure() -> None:
    carried = {name for name, kind in MESSAGES.items() if not _windows(kind)} - NOT_CARRIED
    assert carried == set(STRUCTS)


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_fields_are_the_same_but_for_windows(name: str) -> None:
    wire = {field.name for field in MESSAGES[name].fields if not _windows(field.message_type)}
    assert set(STRUCTS[name].__struct_fields__) == wire


@pytest.mark.parametrize("name", sorted(STRUCTS))
@pytest.mark.parametrize("how", ["default", "empty", "full"])
def test_round_trip(name: str, how: str) -> None:
    descriptor, struct = MESSAGES[name], STRUCTS[name]
    proto = GetMessageClass(descriptor)()
    if how != "default":
        _fill(proto, how == "empty")
    message = translate.reader(descriptor, struct)(proto)
    assert isinstance(message, struct)
    assert translate.writer(struct, descriptor)(message) == proto
    if how == "full" and struct.__struct_fields__:
        assert message != struct()


def test_wrapped_zero_is_not_nothing() -> None:
    proto = api_pb2.LinuxSandboxSecurityContext()
    proto.run_as_user.SetInParent()
    message = translate.reader(proto.DESCRIPTOR, security.LinuxSandboxSecurityContext)(proto)
    assert message.run_as_user == 0
    assert message.run_as_group is None
    back = translate.writer(security.LinuxSandboxSecurityContext, proto.DESCRIPTOR)(message)
    assert back.HasField("run_as_user")
    assert not back.HasField("run_as_group")


def test_wrapped_state_is_an_enumeration() -> None:
    proto = api_pb2.PodSandboxFilter()
    proto.state.state = 0
    proto.state.SetInParent()
    message = translate.reader(proto.DESCRIPTOR, sandbox.PodSandboxFilter)(proto)
    assert message.state is PodSandboxState.SANDBOX_READY


def test_unknown_enumeration_value_is_refused_by_name() -> None:
    proto = api_pb2.NamespaceOption(network=NamespaceMode.NODE)
    proto.pid = 77
    with pytest.raises(InvalidArgument, match=r"NamespaceOption\.pid has value 77"):
        translate.reader(proto.DESCRIPTOR, security.NamespaceOption)(proto)


def test_windows_is_dropped() -> None:
    proto = api_pb2.PodSandboxConfig(hostname="h")
    proto.windows.security_context.host_process = True
    message = translate.reader(proto.DESCRIPTOR, sandbox.PodSandboxConfig)(proto)
    assert message == sandbox.PodSandboxConfig(hostname="h")
