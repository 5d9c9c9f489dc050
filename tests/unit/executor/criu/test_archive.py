"""What of a checkpoint is let near criu."""

import os
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.criu import archive
from cribus.executor.plan import seccomp

from tests.unit.executor.criu.images import ids, image, message, mount, varint, write

PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}
SPEC: dict[str, Any] = {"linux": {}}
FILTERED: dict[str, Any] = {"linux": {"seccomp": PROFILE}}


def inet(kind: int) -> bytes:
    return image(message([(1, 4), (4, message([(3, 2), (4, kind)]))]))


def filters(*chain: tuple[bytes, int | None]) -> bytes:
    """(program, number of the one before) each."""
    made = [message([(1, code), *([(2, before)] if before is not None else [])]) for code, before in chain]
    return image(message([(1, one) for one in made]))


def test_a_good_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "checkpoint")
    assert archive.check(str(folder), SPEC) == (["/dev/null", "pipe:[5]", "pipe:[6]"], ["/data"])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ids_9": image(ids(pid=1))}, "not in the container's pid namespace"),
        ({"ids_9": image(ids(mnt=5))}, "not in the container's mnt namespace"),
        ({"ids_9": image(ids(mnt=22))}, "not in the container's mnt namespace"),
        ({"ids_1": image(ids(pid=0))}, "not in the container's pid namespace"),
        ({"ids_9": image(ids(net=30))}, "net namespace of its own"),
        ({"ids_1": image(ids(user=30))}, "user namespace of its own"),
        ({"ids_9": None}, "has no ids-9"),
        ({"ids_9": image(ids(), ids())}, "process without namespaces"),
        ({"pstree": image()}, "does not say what it is of"),
        ({"inventory": image()}, "does not say what it is of"),
        ({"inventory": b"\x16\x31"}, "no image of criu"),
        ({"inventory": None}, "has no inventory"),
        ({"mountpoints_10": image(mount(3, "/dev"))}, "mounts something at /dev"),
        ({"mountpoints_10": image(mount(4, "/proc/sys/fs/binfmt_misc"))}, "mounts something at /proc/sys/fs"),
        ({"mountpoints_10": image(mount(0, "/disk"))}, "mounts something at /disk"),
        ({"mountpoints_10": image(mount(5, "/tmp", (12, 1)))}, "plugin"),
        ({"mountpoints_11": image()}, "not the mounts of one"),
        ({"mountpoints_10": None}, "not the mounts of one"),
        ({"files": image(message([(1, 10)]))}, "open file of kind 10"),
        ({"files": image(message([(1, 13)]))}, "open file of kind 13"),
        ({"files": image(message([(1, 14)]))}, "open file of kind 14"),
        ({"files": inet(3)}, "open file of kind 4"),
        ({"binfmt_misc": b""}, "no container of ours can have"),
        ({"netns_1": b""}, "no container of ours can have"),
        ({"files": image(b"\x0a\x7f")}, "cut off"),
        ({"files": image(b"\xff" * 11)}, "has no end"),
        ({"files": image(b"\x0b")}, "a message is none"),
        ({"files": b"\x19CVT1234" + (99).to_bytes(4, "little")}, "an image is cut off"),
    ],
)
def test_what_is_refused(tmp_path: Path, changed: dict[str, bytes | None], why: str) -> None:
    folder = write(tmp_path / "checkpoint", **changed)
    with pytest.raises(InvalidArgument, match=why):
        archive.check(str(folder), SPEC)


@pytest.mark.parametrize("name", ["data", "/../../etc", "/a/../../b", "/a]:/etc/shadow", "/a\nb"])
def test_names_that_are_no_places(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "checkpoint", mountpoints_10=image(mount(0, "/data", (18, name.encode()))))
    with pytest.raises(InvalidArgument, match="which is no place"):
        archive.check(str(folder), SPEC)


def test_sockets_that_are_let_in(tmp_path: Path) -> None:
    for kind in (1, 2):
        archive.check(str(write(tmp_path / "checkpoint", files=inet(kind))), SPEC)


@pytest.mark.parametrize("kind", ["link", "folder", "hard"])
def test_only_plain_files(tmp_path: Path, kind: str) -> None:
    """criu would follow a link to wherever it leads."""
    folder = write(tmp_path / "checkpoint", seccomp=None)
    (tmp_path / "secret").write_bytes(image())
    if kind == "link":
        os.symlink(tmp_path / "secret", folder / "seccomp.img")
    elif kind == "hard":
        os.link(tmp_path / "secret", folder / "seccomp.img")
    else:
        (folder / "seccomp.img").mkdir()
    with pytest.raises(InvalidArgument, match="no container of ours"):
        archive.check(str(folder), SPEC)


def test_the_filter_of_the_request_is_below_all_others(tmp_path: Path) -> None:
    own = seccomp.compile(PROFILE)
    other = own[:-8] + bytes(8)
    for good in (filters((own, None)), filters((own, None), (other, 0))):
        archive.check(str(write(tmp_path / "checkpoint", seccomp=good)), FILTERED)
    for bad, why in (
        (image(message([])), "no seccomp filter"),
        (filters((other, None)), "another seccomp profile"),
        (filters((other, None), (own, 0)), "another seccomp profile"),
        (filters((own, None), (other, 1)), "not in line"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            archive.check(str(write(tmp_path / "checkpoint", seccomp=bad)), FILTERED)


@pytest.mark.parametrize("said", ["", "{}", "[1, 2, 3]", '["/dev/null", "/dev/sda", "pipe:[5]"]', '["a", "pipe:[5]"]'])
def test_streams_that_are_none(tmp_path: Path, said: str) -> None:
    folder = write(tmp_path / "checkpoint")
    (folder / "descriptors.json").write_text(said)
    with pytest.raises(InvalidArgument, match=r"stream|output"):
        archive.check(str(folder), SPEC)


def test_fields() -> None:
    data = (
        message([(1, 5), (2, b"x"), (2, b"y"), (16, 300)])
        + varint(3 << 3 | 5)
        + b"abcd"
        + varint(4 << 3 | 1)
        + bytes(8)
    )
    assert archive.fields(data) == {1: [5], 2: [b"x", b"y"], 16: [300], 3: [b"abcd"], 4: [bytes(8)]}
