"""What is asked of criu and what comes of its answers, with a script in its place."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.executor.criu import dump, program
from cribus.executor.node import Node
from cribus.executor.state import Record

from tests.unit.executor.forks import Forks

SPEC: dict[str, Any] = {
    "process": {"args": ["x"]},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/proc/self/ns/net"}]},
}


def changed(**linux: Any) -> dict[str, Any]:
    return {**SPEC, "linux": linux}


@pytest.fixture
def folder(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    node.server = Forks()  # type: ignore[assignment]
    monkeypatch.setattr(dump, "freezer", lambda *_: "/nowhere")

    async def need(node: Node) -> str:
        return str(tmp_path / "criu")

    monkeypatch.setattr(program, "need", need)
    made = tmp_path / "folder"
    made.mkdir()
    return made


def run(node: Node, folder: Path, script: str) -> None:
    path = folder.parent / "criu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    record = Record(container="c", pid=os.getpid(), ready=True)
    asyncio.run(dump.dump(node, record, SPEC, str(folder)))


def test_a_container_is_written_down(node: Node, folder: Path) -> None:
    run(node, folder, f'echo "$@" >{folder}/said; readlink /proc/self/fd/3 >>{folder}/said; exit 0')
    words, at_work = (folder / "said").read_text().splitlines()
    assert f"--tree {os.getpid()} --images-dir {folder}/checkpoint --work-dir {folder}" in words
    assert at_work == f"{node.bundle('c')}/criu"
    links = json.loads((folder / "checkpoint" / "descriptors.json").read_text())
    assert links == [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    asyncio.run(dump.over(node.bundle("c")))


def test_again_in_the_same_folder(node: Node, folder: Path) -> None:
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "left").touch()
    run(node, folder, "exit 0")
    assert os.listdir(folder / "checkpoint") == ["descriptors.json"]


def test_its_own_words_when_it_fails(node: Node, folder: Path) -> None:
    log = "(00.1) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.2) Error (x.c:1): no luck"
    with pytest.raises(FailedPrecondition, match=r"cannot write down container c: no luck$"):
        run(node, folder, f"echo '{log}' >{folder}/dump.log; exit 1".replace("Can't", "Cannot"))
    (folder / "dump.log").unlink()
    with pytest.raises(FailedPrecondition, match="it wrote no reason"):
        run(node, folder, "exit 1")


def test_who_comes_later_waits_for_its_end(node: Node, folder: Path) -> None:
    """Also an executor that knows nothing of it: criu has the fifo open."""
    gate = folder.parent / "gate"
    os.mkfifo(gate)

    async def story() -> None:
        path = folder.parent / "criu"
        path.write_text(f"#!/bin/sh\nread word <{gate}\n")
        path.chmod(0o755)
        work = asyncio.ensure_future(
            dump.dump(node, Record(container="c", pid=os.getpid()), SPEC, str(folder)),
        )
        writer = await asyncio.to_thread(os.open, gate, os.O_WRONLY)  # it is at work
        work.cancel()
        later = asyncio.ensure_future(dump.over(node.bundle("c")))
        done, _ = await asyncio.wait([later], timeout=0.1)
        assert not done
        os.write(writer, b"go\n")
        os.close(writer)
        await later

    asyncio.run(story())


@pytest.mark.parametrize(
    ("spec", "runtime", "why"),
    [
        (SPEC, ["/sbin/runc"], "run by /sbin/runc"),
        ({**SPEC, "process": {"terminal": True}}, [], "has a terminal"),
        (changed(namespaces=[{"type": "mount"}]), [], "shares its process namespace"),
        (changed(namespaces=[{"type": "pid", "path": "/x"}]), [], "shares its process namespace"),
        (changed(namespaces=[{"type": "pid"}, {"type": "user", "path": "/x"}]), [], "user namespace"),
        ({**SPEC, "process": {"selinuxLabel": "x"}}, [], "label of SELinux"),
    ],
)
def test_what_is_not_even_tried(spec: dict[str, Any], runtime: list[str], why: str) -> None:
    with pytest.raises(FailedPrecondition, match=why):
        dump.check(Record(container="c", runtime=runtime), spec)


def test_a_profile_of_apparmor_is_written_down_with_the_rest() -> None:
    dump.check(Record(container="c"), {**SPEC, "process": {"apparmorProfile": "mine"}})
