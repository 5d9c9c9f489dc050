import os
from pathlib import Path
from typing import Any

from cribus.executor.child import rootfs
from cribus.linux import mount


def said(request: dict[str, Any]) -> str:
    """In a process of its own, as always: one with threads may not change its namespaces."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            rootfs.main(request, [write])
        finally:
            os._exit(0)
    os.close(write)
    try:
        os.waitpid(pid, 0)
        return os.read(read, 4096).decode()
    finally:
        os.close(read)


def test_an_overlay_on_the_host(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower" / "file").write_text("content")
    upper = {f"{kind}dir": str(tmp_path / kind) for kind in ("upper", "work")}
    options = {"lowerdir": [str(tmp_path / "lower")], **upper}
    target = str(tmp_path / "target")
    request = {"target": target, "options": options, "owner": [], "users": "", "sources": [str(tmp_path / "a/b")]}
    try:
        assert said(request) == "ready \n"
        assert (tmp_path / "target" / "file").read_text() == "content"
        assert (tmp_path / "a" / "b").is_dir()
    finally:
        assert mount.detach(target)
    assert not mount.detach(target)


def test_what_cannot_be_mounted(tmp_path: Path) -> None:
    options = {"lowerdir": [str(tmp_path / "none")]}
    request = {"target": str(tmp_path), "options": options, "owner": [], "users": "", "sources": []}
    assert said(request).startswith("error INTERNAL root filesystem")
