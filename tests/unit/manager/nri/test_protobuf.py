"""The wire format, with Google's own implementation as the witness."""

from typing import ClassVar

import pytest
from cribus.manager.nri.protobuf import Malformed, Message, Unsigned, decode, encode, plain
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class Inner(Message):
    text: str = ""
    number: int = 0


class Whole(Message):
    text: str = ""
    data: bytes = b""
    flag: bool = False
    number: int = 0
    big: Unsigned = 0
    texts: list[str] = []
    numbers: list[int] = []
    inner: Inner | None = None
    inners: list[Inner] = []
    names: dict[str, str] = {}
    by_name: dict[str, Inner] = {}
    by_number: dict[int, str] = {}
    maybe: int | None = None
    maybe_texts: list[str] | None = None


class Later(Message):
    FIRST: ClassVar[int] = 2
    text: str = ""


FULL = Whole(
    text="ä",
    data=b"\0\xff",
    flag=True,
    number=-1,
    big=(1 << 64) - 1,
    texts=["", "a"],
    numbers=[0, -5, 300],
    inner=Inner(),
    inners=[Inner(text="x", number=7), Inner()],
    names={"a": "b", "": ""},
    by_name={"k": Inner(number=1), "empty": Inner()},
    by_number={3: "three"},
    maybe=0,
    maybe_texts=["one"],
)


def google(name: str):  # type: ignore[no-untyped-def]
    """The class that Google's implementation makes of the same messages."""
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(called: str, *fields: tuple[str, int, int, str]) -> None:
        made = file.message_type.add(name=called)
        for number, (field, kind, label, of) in enumerate(fields, start=1):
            made.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    text, int64, nested = kinds.TYPE_STRING, kinds.TYPE_INT64, kinds.TYPE_MESSAGE
    message("Inner", ("text", text, one, ""), ("number", int64, one, ""))
    message("Int", ("value", int64, one, ""))
    message("Texts", ("value", text, many, ""))
    message(
        "Whole",
        ("text", text, one, ""),
        ("data", kinds.TYPE_BYTES, one, ""),
        ("flag", kinds.TYPE_BOOL, one, ""),
        ("number", kinds.TYPE_INT32, one, ""),
        ("big", kinds.TYPE_UINT64, one, ""),
        ("texts", text, many, ""),
        ("numbers", int64, many, ""),
        ("inner", nested, one, ".t.Inner"),
        ("inners", nested, many, ".t.Inner"),
        ("names", nested, many, ".t.Whole.NamesEntry"),
        ("by_name", nested, many, ".t.Whole.ByNameEntry"),
        ("by_number", nested, many, ".t.Whole.ByNumberEntry"),
        ("maybe", nested, one, ".t.Int"),
        ("maybe_texts", nested, one, ".t.Texts"),
    )
    for entry, key, kind, of in (
        ("NamesEntry", text, text, ""),
        ("ByNameEntry", text, nested, ".t.Inner"),
        ("ByNumberEntry", kinds.TYPE_INT32, text, ""),
    ):
        made = file.message_type[-1].nested_type.add(name=entry)
        made.options.map_entry = True
        made.field.add(name="key", number=1, type=key, label=one)
        made.field.add(name="value", number=2, type=kind, label=one, type_name=of or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))


def test_google_reads_what_we_write() -> None:
    theirs = google("Whole").FromString(encode(FULL))
    assert (theirs.text, theirs.data, theirs.flag, theirs.number, theirs.big) == (
        "ä",
        b"\0\xff",
        True,
        -1,
        (1 << 64) - 1,
    )
    assert (list(theirs.texts), list(theirs.numbers)) == (["", "a"], [0, -5, 300])
    assert theirs.HasField("inner")
    assert [one.number for one in theirs.inners] == [7, 0]
    assert dict(theirs.names) == {"a": "b", "": ""}
    assert theirs.by_name["k"].number == 1
    assert set(theirs.by_name) == {"k", "empty"}
    assert dict(theirs.by_number) == {3: "three"}
    assert theirs.HasField("maybe")
    assert list(theirs.maybe_texts.value) == ["one"]


def test_we_read_what_google_writes() -> None:
    theirs = google("Whole").FromString(encode(FULL))
    assert decode(Whole, theirs.SerializeToString()) == FULL


def test_what_is_not_given_costs_nothing() -> None:
    assert encode(Whole()) == b""
    assert decode(Whole, b"") == Whole()


def test_a_message_may_begin_at_another_number() -> None:
    assert encode(Later(text="x")) == b"\x12\x01x"


def test_numbers_one_by_one_are_read_too() -> None:
    assert decode(Whole, b"\x38\x01\x38\x02").numbers == [1, 2]


def test_what_a_newer_peer_adds_is_left_out() -> None:
    newer = b"\xf8\x01\x05" + b"\xf9\x01" + bytes(8) + b"\xfd\x01" + bytes(4) + b"\xfa\x01\x02ab" + b"\x0a\x01x"
    assert decode(Whole, newer) == Whole(text="x")


def test_text_that_is_not_unicode_is_replaced() -> None:
    assert decode(Inner, encode(Inner(text="A=\udcff"))).text == "A=?"


RUBBISH = {
    "a number is cut off": b"\x20\xff",
    "more than ten bytes": b"\x20" + b"\xff" * 11,
    "ends 4 bytes after": b"\x0a\x05x",
    "wire type 3": b"\x0b",
    "instead of": b"\x08\x01",
    "not UTF-8": b"\x0a\x01\xff",
}


@pytest.mark.parametrize("sentence", RUBBISH)
def test_rubbish_is_told_from_a_message(sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        decode(Whole, RUBBISH[sentence])


def test_as_json_zero_is_said_and_what_is_not_given_is_not() -> None:
    assert plain(Inner(text="", number=0)) == {"number": 0}
    told = plain(Whole(inner=Inner(text="a"), texts=["a"], maybe=None))
    assert (told["inner"], told["texts"], told["flag"]) == ({"text": "a", "number": 0}, ["a"], False)
    assert not {"maybe", "inners", "names"} & set(told)
