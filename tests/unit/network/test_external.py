import json
import os
import time
from pathlib import Path

import pytest
from cribus.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, Unavailable
from cribus.network import external
from cribus.network.external import Call

CALL = Call("c1", "/ns", "eth0", {"IgnoreUnknown": "1", "K8S_POD_NAME": "p"})


def plugin(folder: Path, script: str) -> tuple[str, ...]:
    """The folders of plugins, with one called plug in the last."""
    path = folder / "plug"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return ("/nowhere", str(folder))


def test_a_plugin_gets_what_the_specification_says(tmp_path: Path) -> None:
    script = f'cat >{tmp_path}/in; env | grep ^CNI_ | sort >{tmp_path}/env; echo \'{{"cniVersion": "1.1.0"}}\''
    path = plugin(tmp_path, script)
    assert external.run(path, "ADD", {"type": "plug", "name": "n"}, CALL) == {"cniVersion": "1.1.0"}
    assert json.loads((tmp_path / "in").read_text()) == {"type": "plug", "name": "n"}
    assert (tmp_path / "env").read_text().splitlines() == [
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=p",
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=c1",
        "CNI_IFNAME=eth0",
        "CNI_NETNS=/ns",
        f"CNI_PATH=/nowhere:{tmp_path}",
    ]


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ('echo \'{"code": 7, "msg": "bad", "details": "it"}\'; exit 1', InvalidArgument, r"bad \(it\)"),
        ('echo \'{"code": 11, "msg": "later"}\'; exit 1', Unavailable, "later"),
        ("echo broken >&2; exit 3", Unavailable, "status 3: broken"),
        ("echo x", FailedPrecondition, "no JSON"),
        ("echo '[]'", FailedPrecondition, "no JSON"),
        ("head -c 100 /dev/urandom", FailedPrecondition, "no JSON"),
        ("exec yes", FailedPrecondition, "printed more than 1048576 bytes and was killed"),
        ('echo \'{"code": "seven"}\'; exit 1', Unavailable, "status 1"),
        ("kill -SEGV $$", Unavailable, "status -11: it gave no reason"),
    ],
)
def test_its_errors_are_ours(tmp_path: Path, script: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        external.run(plugin(tmp_path, script), "ADD", {"type": "plug"}, CALL)


def test_what_is_no_program(tmp_path: Path) -> None:
    folders = plugin(tmp_path, "")
    (tmp_path / "plug").write_bytes(b"\0rubbish")
    with pytest.raises(FailedPrecondition, match="cannot be executed: Exec format error"):
        external.run(folders, "ADD", {"type": "plug"}, CALL)


@pytest.mark.parametrize(("command", "limit"), [("ADD", "DEADLINE"), ("STATUS", "_PROMPT"), ("GC", "_PROMPT")])
def test_one_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, limit: str
) -> None:
    monkeypatch.setattr(external, limit, 0.3)
    path = plugin(tmp_path, f"sleep 60 & echo $! >{tmp_path}/pid; sleep 60")
    with pytest.raises(DeadlineExceeded, match="was killed"):
        external.run(path, command, {"type": "plug"}, CALL)
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end, "the plugin's child lives"


def test_a_missing_plugin(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="install it"):
        external.find("plug", (str(tmp_path),))
    assert external.find("plug", plugin(tmp_path, "")) == f"{tmp_path}/plug"
