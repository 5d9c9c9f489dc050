"""What the process that looks at paths finds, and that it loads next to nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cribus.manager import looks


def test_a_source_is_made_and_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert looks.source(f"{tmp_path}/link") == f"{tmp_path}/real"
    assert looks.source(f"{tmp_path}/new/deep") == f"{tmp_path}/new/deep"
    assert (tmp_path / "new/deep").is_dir()


def test_devices(tmp_path: Path) -> None:
    null = os.stat("/dev/null")
    (tmp_path / "link").symlink_to("/dev/null")
    (found,) = looks.nodes(f"{tmp_path}/link")["devices"]
    assert (found["path"], found["major"], found["minor"]) == ("/dev/null", 1, 3)
    os.mknod(tmp_path / "node", null.st_mode, null.st_rdev)
    (tmp_path / "file").write_text("")
    assert [one["path"] for one in looks.nodes(str(tmp_path))["devices"]] == [f"{tmp_path}/node"]
    with pytest.raises(OSError, match="no device node"):
        looks.nodes(f"{tmp_path}/file")
    whole = [one["path"] for one in looks.devices()]
    assert "/dev/null" in whole
    assert not [path for path in whole if path.startswith("/dev/pts/")]


def test_the_program_answers_each_and_ends_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("grüße")
    (tmp_path / "bytes").write_bytes(b"\xff")
    answers = []
    process = subprocess.Popen(
        [sys.executable, "-m", "cribus.manager.looks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    for number, (look, name) in enumerate([("text", "file"), ("text", "none"), ("text", "bytes"), ("source", "x")]):
        process.stdin.write(json.dumps({"id": number, "look": look, "path": f"{tmp_path}/{name}"}) + "\n")
        process.stdin.flush()
        answers.append(json.loads(process.stdout.readline()))
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
    assert answers[0] == {"id": 0, "found": "grüße"}
    assert (answers[1]["errno"], answers[1]["text"]) == (2, "No such file or directory")
    assert (answers[2]["id"], answers[2]["errno"]) == (2, 0)
    assert answers[3]["found"] == f"{tmp_path}/x"


def test_it_loads_next_to_nothing() -> None:
    script = "import sys; import cribus.manager.looks; print(*sorted(set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    heavy = {"asyncio", "msgspec", "nats", "logging", "typing", "threading", "subprocess"}
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert not heavy & (set(done.stdout.split()) - set(bare.stdout.split()))


def test_a_place_for_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert looks.place(f"{tmp_path}/new") == {"parent": True, "there": False, "file": False}
    assert looks.place(f"{tmp_path}/file") == {"parent": True, "there": True, "file": True}
    assert looks.place(str(tmp_path)) == {"parent": True, "there": True, "file": False}
    assert looks.place(f"{tmp_path}/none/new")["parent"] is False


def test_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert looks.empty(f"{tmp_path}/folder")
    assert not any(looks.empty(one) for one in (str(tmp_path), f"{tmp_path}/file", f"{tmp_path}/none"))
