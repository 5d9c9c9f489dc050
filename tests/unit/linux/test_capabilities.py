import os

from cribus.linux import capabilities


def in_child(keep: int) -> dict[str, int]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        capabilities.drop_bounding(keep, capabilities.current()["bounding"])
        capabilities.capset(keep, keep, keep)
        capabilities.set_ambient(keep & 1)
        found = capabilities.current()
        os.write(write, " ".join(f"{key}={value}" for key, value in found.items()).encode())
        os._exit(0)
    text = os.read(read, 999).decode()
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    return {key: int(value) for key, value in (word.split("=") for word in text.split())}


def test_all_five_sets() -> None:
    keep = 1 | 1 << 5 | 1 << 10
    assert in_child(keep) == {
        "inheritable": keep,
        "permitted": keep,
        "effective": keep,
        "bounding": keep,
        "ambient": 1,
    }


def test_names_are_by_number() -> None:
    assert capabilities.NAMES.index("SYS_RESOURCE") == capabilities.SYS_RESOURCE
    assert capabilities.last() >= capabilities.NAMES.index("AUDIT_READ")
