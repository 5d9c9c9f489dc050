import asyncio
import json
import os
from pathlib import Path

import pytest
from cribus.config import Handler
from cribus.errors import Internal, InvalidArgument, NotFound, ResourceExhausted
from cribus.executor.node import Node
from cribus.executor.runtimes import command
from cribus.executor.state import Record

from tests.unit.executor.forks import Forks

SCRIPT = """#!/bin/sh
while [ $# -gt 2 ]; do [ "$1" = --log ] && log=$2; shift; done
case $1 in
state) echo '{"status": "running"}';;
kill) echo '{"level":"warning","msg":"no"}
{"level":"error","msg":"container is not there"}' >> $log; exit 1;;
*) echo 'the last word' >&2; exit 1;;
esac
"""


@pytest.fixture
def record(node: Node, tmp_path: Path) -> Record:
    (tmp_path / "runtime").write_text(SCRIPT)
    (tmp_path / "runtime").chmod(0o755)
    Path(command.home(node, "c")).mkdir(parents=True)
    node.server = Forks()  # type: ignore[assignment]
    return Record(container="c", runtime=[str(tmp_path / "runtime"), "--debug"])


def test_the_line_has_all_that_is_fixed(node: Node, record: Record) -> None:
    where = command.home(node, "c")
    made = command.line(node, record, ["start", "c"])
    assert made.argv[1:] == [
        "--debug", "--root", f"{where}/root", "--log", f"{where}/log.json", "--log-format", "json", "start", "c",
    ]  # fmt: skip
    node.tree.driver = "systemd"
    assert command.line(node, record, ["start", "c"]).argv[-3:] == ["--systemd-cgroup", "start", "c"]


def test_what_it_answers(node: Node, record: Record) -> None:
    assert json.loads(asyncio.run(command.run(node, record, ["state", "c"]))) == {"status": "running"}
    with pytest.raises(Internal, match=r"^runtime kill: container is not there$"):
        asyncio.run(command.run(node, record, ["kill", "c"]))
    with pytest.raises(Internal, match=r"^runtime pause: the last word$"):  # nothing new in the log
        asyncio.run(command.run(node, record, ["pause", "c"]))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('runc create failed: exec: "nope": executable file not found in $PATH', NotFound),
        ('exec: "/nope": stat /nope: no such file or directory', NotFound),
        ('exec failed: exec: "/etc/passwd": permission denied', InvalidArgument),
        ('exec: "/etc": is a directory', InvalidArgument),
        ('chdir to cwd ("/etc/passwd") set in config.json failed: not a directory', InvalidArgument),
        ("executable file `nope` not found in $PATH: No such file or directory", NotFound),  # crun
        ("open executable: Permission denied", InvalidArgument),
        ("open executable: Operation not permitted", InvalidArgument),  # a directory
        ("chdir `/etc/passwd`: Not a directory", InvalidArgument),
        ("starting sandbox: creating process: failed to load /nope: no such file or directory", NotFound),  # gVisor
        ('error finding executable "nope" in PATH [/bin /usr/bin]: no such file or directory', NotFound),
        ("creating process: failed to load /bin/x: exec format error", InvalidArgument),
        ("failed to load /etc: permission denied", InvalidArgument),
        ("error in executing process : executable '/nope' not found in $PATH", NotFound),
        ("executable '/etc/passwd' at path '/etc/passwd' does not have correct permissions", InvalidArgument),  # youki
        ("error in executing process : failed to unix syscall (failed to chdir: ENOENT)", InvalidArgument),
        ("mkdir /run/x: no space left on device", ResourceExhausted),
        ("mount failed: no such file or directory", Internal),
        ("exec process failed: mount /x: no such file or directory", Internal),
    ],
)
def test_the_usual_causes_have_their_codes(text: str, kind: type[Exception]) -> None:
    failed = command.refused(Record(container="c", handler="fast", runtime=["/bin/sh"]), "exec", text)
    assert type(failed) is kind
    assert failed.message == f"fast exec: {text}"


def test_a_runtime_that_was_taken_away_since(node: Node, record: Record) -> None:
    os.unlink(record.runtime[0])
    with pytest.raises(command.NotThere, match="runtime is no program; install it"):
        asyncio.run(command.run(node, record, ["kill", "c", "15"]))


def test_programs(node: Node) -> None:
    node.handlers = {"ours": Handler(), "sh": Handler(path="sh", args=["-x"]), "gone": Handler(path="/nowhere")}
    assert command.program(node, "") == command.program(node, "ours") == []
    assert command.program(node, "sh")[0].endswith("/sh")
    assert command.program(node, "sh")[1:] == ["-x"]
    for name, text in (("gone", "no program"), ("other", "not configured")):
        with pytest.raises(command.NotThere, match=text):
            command.program(node, name)


def test_a_message_has_many_shapes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert command.said(str(log)) == ""
    log.write_text('rubbish\n{"level":"ERROR","message":"first\\nsecond"}\n{"level":"info","msg":"x"}\n')
    assert command.said(str(log)) == "first"
    log.write_text('{"level":"ERROR","message":"failed to chdir","e":"ENOENT"}\n{"level":"error","msg":"it failed"}\n')
    assert command.said(str(log)) == "it failed (failed to chdir: ENOENT)"
    log.write_text('{"level":"error","msg":"no"}\n{"level":"fatal","msg":"it failed: no"}\n')
    assert command.said(str(log)) == "it failed: no"
