import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.executor.node import Held, Node


def test_one_at_a_time_and_no_lock_is_left(node: Node) -> None:
    inside = []

    async def visit(name: str) -> None:
        async with node.alone("c"):
            inside.append(name)
            await asyncio.sleep(0)
            assert inside[-1] == name

    async def main() -> None:
        await asyncio.gather(*(visit(name) for name in "abc"))

    asyncio.run(main())
    assert inside == ["a", "b", "c"]
    assert node._locks == {}


def test_held_descriptors_are_closed(node: Node) -> None:
    read, write = os.pipe()
    node.hold("c", Held(read, -1))
    node.hold("c", Held(write, -1))
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(read)
    node.let_go("c")
    node.let_go("c")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(write)


def test_remove_while_somebody_leaves_a_file(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Path(node.bundle("c"))
    bundle.mkdir(parents=True, exist_ok=True)
    look = os.rmdir
    left: list[int] = []

    def rmdir(path: str, **more: Any) -> None:
        if not left:
            left.append(1)
            (bundle / "told").touch()
        look(path, **more)

    monkeypatch.setattr(os, "rmdir", rmdir)
    node.remove(str(bundle))
    assert left == [1]
    assert not bundle.exists()


def test_remove(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.remove(node.bundle("c"))
    node.remove(node.bundle("c"))
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(FailedPrecondition, match="mounted"):
        node.remove(str(tmp_path))
