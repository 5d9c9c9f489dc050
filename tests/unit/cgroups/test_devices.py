import pytest
from cribus.cgroups.devices import normalised, program, v1_lines
from cribus.errors import InvalidArgument

DENY_ALL = {"allow": False, "access": "rwm"}


def test_lines_of_v1() -> None:
    assert v1_lines([DENY_ALL, {"allow": True, "type": "c", "major": 136, "access": "rw"}]) == ["-a", "+c 136:* rw"]


def test_exceptions_add_up_and_are_taken_away() -> None:
    rules = [
        DENY_ALL,
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "m"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": False, "type": "b", "major": 8, "access": "r"},
    ]
    assert normalised(rules) == (False, {("c", 1, 3): 1 | 2})


def test_without_a_rule_for_all_everything_is_allowed() -> None:
    assert normalised([{"allow": False, "type": "c", "major": 1, "access": "w"}]) == (True, {("c", 1, -1): 4})
    assert normalised([DENY_ALL, {"allow": True, "access": "rwm"}]) == (True, {})


def test_a_rule_for_both_kinds() -> None:
    assert normalised([DENY_ALL, {"allow": True, "type": "a", "major": 7, "minor": 1, "access": "r"}])[1] == {
        ("b", 7, 1): 2,
        ("c", 7, 1): 2,
    }


def decide(code: bytes, device: tuple[int, int, int], access: int) -> int:
    """Run the few instructions that the program uses."""
    kind, major, minor = device
    context = {0: access << 16 | kind, 4: major, 8: minor}
    registers = [0] * 11
    at = 0
    while True:
        opcode, both = code[at * 8], code[at * 8 + 1]
        offset = int.from_bytes(code[at * 8 + 2 : at * 8 + 4], "little", signed=True)
        imm = int.from_bytes(code[at * 8 + 4 : at * 8 + 8], "little", signed=True)
        to, of = both & 15, both >> 4
        at += 1
        if opcode == 0x61:
            registers[to] = context[offset]
        elif opcode == 0xBC:
            registers[to] = registers[of]
        elif opcode == 0xB7:
            registers[to] = imm
        elif opcode == 0x54:
            registers[to] &= imm
        elif opcode == 0x74:
            registers[to] >>= imm
        elif (opcode == 0x55 and registers[to] != imm) or (opcode == 0x15 and registers[to] == imm):
            at += offset
        elif opcode == 0x95:
            return registers[0]


def test_the_program_decides_as_v1_does() -> None:
    allowed = program(False, {("c", 1, 3): 2 | 4, ("b", 8, -1): 2})
    assert decide(allowed, (2, 1, 3), 2) == 1
    assert decide(allowed, (2, 1, 3), 2 | 4) == 1
    assert decide(allowed, (2, 1, 3), 1 | 2) == 0  # one bit is not allowed
    assert decide(allowed, (1, 8, 77), 2) == 1
    assert decide(allowed, (2, 8, 77), 2) == 0
    denied = program(True, {("c", 1, 3): 4})
    assert decide(denied, (2, 1, 3), 2 | 4) == 0  # one bit is denied
    assert decide(denied, (2, 1, 3), 2) == 1
    assert decide(denied, (2, 1, 5), 4) == 1


@pytest.mark.parametrize("rule", [{"type": "x"}, {"access": "rq"}])
def test_a_wrong_rule(rule: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="device rule"):
        v1_lines([rule])
