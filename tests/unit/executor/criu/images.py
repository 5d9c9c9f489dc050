"""criu's images, as far as tests need to make some."""

import json
from pathlib import Path
from typing import Any

Fields = list[tuple[int, int | bytes]]


def varint(value: int) -> bytes:
    made = bytearray()
    while True:
        made.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(made)


def message(fields: Fields) -> bytes:
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += varint(number << 3) + varint(value)
        else:
            made += varint(number << 3 | 2) + varint(len(value)) + value
    return made


def image(*messages: bytes, magic: bytes = b"\x19CVT1234") -> bytes:
    return magic + b"".join(len(one).to_bytes(4, "little") + one for one in messages)


def ids(**changes: int) -> bytes:
    """Of a container: PID and mount namespace of its own (fields 5 and 9), all else criu's."""
    known = {"pid": 20, "net": 2, "ipc": 3, "uts": 4, "mnt": 21, "user": 6, "cgroup": 7, **changes}
    return message(
        [(5 + at, known[name]) for at, name in enumerate(("pid", "net", "ipc", "uts", "mnt", "user", "cgroup"))]
    )


def inventory() -> bytes:
    return image(message([(1, 1), (3, ids(pid=1, mnt=5))]), magic=b"\x16\x31\x31\x58")


def mount(kind: int, place: str, *more: tuple[int, int | bytes]) -> bytes:
    return message([(1, kind), (7, place.encode()), *more])


def write(folder: Path, **changed: bytes | None) -> Path:
    """A checkpoint of two processes; names without their ending, `_` for `-`; None: without it."""
    made: dict[str, bytes | None] = {
        "inventory": inventory(),
        "pstree": image(message([(1, 1)]), message([(1, 9)])),
        "ids_1": image(ids()),
        "ids_9": image(ids()),
        "mountpoints_10": image(mount(17, "/"), mount(1, "/proc"), mount(0, "/data", (18, b"/data"))),
        "files": image(message([(1, 1)]), message([(1, 2)])),
        "seccomp": image(message([])),
        **changed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        if data is not None:
            (folder / f"{name.replace('_', '-')}.img").write_bytes(data)
    said: Any = ["/dev/null", "pipe:[5]", "pipe:[6]"]
    (folder / "descriptors.json").write_text(json.dumps(said))
    return folder
