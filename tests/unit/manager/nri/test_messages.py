"""Places of fields are numbers on the wire: those of NRI 0.12, by example."""

from cribus.manager.nri import messages as m
from cribus.manager.nri.protobuf import Message, encode


def numbers(message: Message) -> list[int]:
    """The numbers of the fields that are given, each shorter than 128 bytes."""
    data, found, at = encode(message), [], 0
    while at < len(data):
        tag = data[at]
        at += 1
        if tag > 127:
            tag = tag & 127 | data[at] << 7
            at += 1
        found.append(tag >> 3)
        at += 1 + data[at] if tag & 7 == 2 else 1
    return found


def test_a_container() -> None:
    given = m.Container(id="i", state=1, linux=m.LinuxContainer(), pid=1, status_message="m", image=m.Image())
    assert numbers(given) == [1, 4, 11, 12, 19, 22]


def test_an_adjustment_begins_at_two() -> None:
    given = m.ContainerAdjustment(annotations={"a": "b"}, linux=m.LinuxContainerAdjustment(), args=["x"])
    assert numbers(given) == [2, 6, 9]
    assert numbers(m.LinuxContainerAdjustment(memory_policy=m.MemoryPolicy(), resources=m.Resources())) == [2, 12]


def test_a_subscription_is_field_two() -> None:
    assert numbers(m.ConfigureResponse(events=5)) == [2]


def test_resources() -> None:
    given = m.Resources(rdt_class="gold", unified={"a": "b"}, pids=m.Pids(limit=5))
    assert numbers(given) == [5, 6, 8]
    assert numbers(m.Memory(limit=1, useHierarchy=True)) == [1, 8]
    assert numbers(m.Cpu(shares=1, mems="0")) == [1, 7]


def test_names_of_numbers_are_the_runtime_specs() -> None:
    assert m.POLICIES[2] == "SCHED_FIFO"
    assert m.IO_CLASSES[3] == "IOPRIO_CLASS_IDLE"
    assert m.MEMORY_MODES[6] == "MPOL_WEIGHTED_INTERLEAVE"
    assert m.SCHEDULER_FLAGS[6] == "SCHED_FLAG_UTIL_CLAMP_MAX"
    assert m.MEMORY_FLAGS[0] == "MPOL_F_STATIC_NODES"
