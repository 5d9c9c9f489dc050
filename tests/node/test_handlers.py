"""A runtime handler that is an outside program, through crictl: all that holds for the built-in one holds
for its containers, as keeper and shim are the same."""

import contextlib
import json
import os
import re
import shlex
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness, outside
from tests.harness import Node, until

WRITER = "trap 'exit 7' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 5000; done"
# A runtime that hangs in the commands that a file names, else is runc.
HANGS = """#!/bin/sh
for word in "$@"; do
    case $word in
    create|start|exec|kill|delete) [ -e "{folder}/$word" ] && exec sleep 300 ;;
    esac
done
exec {runc} "$@"
"""


def configured(name: str, command: str) -> str:
    path, *args = shlex.split(command)
    return f'[handlers.{name}]\npath = "{path}"\nargs = {json.dumps(args)}\n'


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file named as a command makes that hang."""
    folder = tmp_path_factory.mktemp("hanging")
    (folder / "runtime").write_text(HANGS.format(folder=folder, runc=outside.RUNC))
    (folder / "runtime").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, hanging: Path) -> Iterator[Node]:
    every = {name: one.command for name, one in outside.EVERY.items()}
    handlers = {**every, "gone": "/nowhere/runtime", "hangs": str(hanging / "runtime")}
    extra = "".join(configured(name, command) for name, command in handlers.items())
    with harness.node(tmp_path_factory.mktemp("node"), extra) as one:
        yield one


@pytest.fixture
def runtime() -> str:
    return "runc"


@pytest.fixture
def pod(node: Node, runtime: str, request: pytest.FixtureRequest) -> Iterator[str]:
    id = node.crictl("runp", "--runtime", runtime, str(node.pod_config(named(request))))
    yield id
    node.crictl("rmp", "-f", id)
    node.assert_clean()


def named(request: pytest.FixtureRequest) -> str:
    return re.sub("[^a-z-]+", "-", request.node.name).strip("-")


def created(node: Node, request: pytest.FixtureRequest, pod: str, *command: str) -> str:
    config = node.container_config(f"{named(request)}-one", *command)
    made: str = node.crictl("create", pod, str(config), str(node.base / f"{named(request)}-pod.json"))
    return made


every_one = pytest.mark.parametrize("runtime", outside.EVERY)


@every_one
def test_a_life(node: Node, pod: str) -> None:
    container = node.container(pod, "life", "sh", "-c", "trap 'exit 5' TERM; hostname; while :; do usleep 10000; done")
    until(lambda: node.log_lines(container), 10, "it writes")
    root = Path(f"{node.run_dir}/containers/{container}/outside/root")
    assert list(root.rglob("*.json")) or list(root.rglob("*.state")), "the runtime itself made it"
    assert node.crictl("exec", "-s", container, "sh", "-c", "cat /proc/self/comm").strip() == "cat"
    assert "exited with 3" in node.try_crictl("exec", "-s", container, "sh", "-c", "exit 3").stderr
    stats = node.json("stats", "-o", "json", container)["stats"][0]
    assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
    node.crictl("stop", "-t", "10", container)
    assert node.exited(container)["exitCode"] == 5


@pytest.mark.parametrize("runtime", ["runc", "debian-runc", "crun", "youki", "gvisor"])
def test_other_limits(node: Node, pod: str) -> None:
    """Debian's gVisor knows no resources of that form."""
    container = node.container(pod, "limited", "sleep", "1000")
    node.crictl("update", "--memory", "104857600", container)
    record = json.loads(Path(f"{node.run_dir}/containers/{container}/state.json").read_text())
    folders = (f"/sys/fs/cgroup/memory{record['cgroup']}/memory.limit_in_bytes",
               f"/sys/fs/cgroup{record['cgroup']}/memory.max")  # fmt: skip
    assert [Path(one).read_text() for one in folders if os.path.exists(one)] == ["104857600\n"]


@pytest.mark.parametrize("runtime", ["runc", "debian-runc", "crun", "youki", "gvisor"])
def test_it_is_reached(node: Node, pod: str) -> None:
    """At the pod's address; Debian's gVisor has no network here (tests/outside.py)."""
    node.container(pod, "server", "httpd", "-f", "-p", "8080", "-h", "/etc")
    address = node.json("inspectp", pod)["status"]["network"]["ip"]

    def answered() -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}:8080/passwd", timeout=5) as page:
            return str(page.read().decode())
        return ""

    assert "root" in until(answered, 10, "it answers")


def writes_on(node: Node, container: str) -> None:
    before = len(node.log_lines(container))
    until(lambda: len(node.log_lines(container)) > before, 10, "it writes on")


@every_one
def test_kills_lose_nothing(node: Node, pod: str) -> None:
    container = node.container(pod, "writer", "sh", "-c", WRITER)
    for victim in ("shim", "executor", "keeper", "manager", "shimd"):
        writes_on(node, container)
        pids = {"shim": node.shim, "keeper": node.keeper}
        argument = pod if victim == "shim" else container
        os.kill(pids[victim](argument) if victim in pids else node.services()[victim], signal.SIGKILL)
    writes_on(node, container)
    node.crictl("stop", "-t", "20", container)
    assert node.exited(container)["exitCode"] == 7
    lines = node.log_lines(container)
    assert lines == [str(number) for number in range(len(lines))]


@every_one
@pytest.mark.parametrize(("command", "code"), [("/not/there", "NotFound"), ("/etc/passwd", "InvalidArgument")])
def test_what_cannot_be_executed(node: Node, pod: str, request: pytest.FixtureRequest, command: str, code: str) -> None:
    container = created(node, request, pod, command)
    failed = node.try_crictl("start", container)
    assert f"code = {code}" in failed.stderr, failed
    status = node.status(container)
    assert (status["state"], status["exitCode"], status["reason"]) == ("CONTAINER_EXITED", 128, "StartError")


@every_one
def test_what_an_exec_cannot_execute(node: Node, pod: str) -> None:
    container = node.container(pod, "execs", "sleep", "1000")
    for command, code in (("nope", "NotFound"), ("/etc/passwd", "InvalidArgument")):
        failed = node.try_crictl("exec", "-s", container, command)
        assert f"code = {code}" in failed.stderr, failed
    assert node.crictl("exec", "-s", container, "echo", "goes on") == "goes on"


def test_the_runtimes_tell_what_they_can(node: Node) -> None:
    handlers = {one.get("name", ""): one["features"] for one in node.json("info")["runtimeHandlers"]}
    able = {name: (one.get("recursive_read_only_mounts", False), one.get("user_namespaces", False))
            for name, one in handlers.items() if name}  # fmt: skip
    assert able == {
        "runc": (True, True),
        "hangs": (True, True),
        "debian-runc": (True, False),
        "youki": (False, False),
        "crun": (False, False),
        "gvisor": (False, True),  # it says so, but joins none
        "debian-gvisor": (False, False),
    }
    refused = node.try_crictl("runp", "--runtime", "gone", str(node.pod_config("refused")))
    assert "code = FailedPrecondition" in refused.stderr
    assert "/nowhere/runtime is no program" in refused.stderr


@pytest.mark.parametrize("runtime", ["hangs"])
def test_one_that_hangs_keeps_no_pod(node: Node, pod: str, hanging: Path, request: pytest.FixtureRequest) -> None:
    container = created(node, request, pod, "sleep", "1000")
    (hanging / "create").touch()
    try:
        given_up = node.try_crictl("-t", "2s", "start", container)
        assert "code = DeadlineExceeded" in given_up.stderr
        node.crictl("-t", "90s", "stopp", pod, timeout=100)  # the start is given up after half a minute
    finally:
        (hanging / "create").unlink()


@pytest.mark.parametrize("runtime", ["hangs"])
def test_one_that_hangs_keeps_no_container(node: Node, pod: str, hanging: Path) -> None:
    container = node.container(pod, "other", "sleep", "1000")
    for word in ("kill", "delete"):
        (hanging / word).touch()
    try:
        node.crictl("stop", "-t", "1", container)
        assert node.exited(container)["exitCode"] == 137
        node.crictl("rm", container)
    finally:
        for word in ("kill", "delete"):
            (hanging / word).unlink()


@pytest.mark.parametrize("runtime", ["hangs"])
def test_one_that_is_taken_away(node: Node, pod: str, hanging: Path, request: pytest.FixtureRequest) -> None:
    """From under its containers: what still goes without it goes, and the rest says what is missing."""
    container = node.container(pod, "left", "sleep", "1000")
    waiting = created(node, request, pod, "true")
    away = (hanging / "runtime").rename(hanging / "away")
    try:
        for words in (("exec", "-s", container, "true"), ("start", waiting)):
            failed = node.try_crictl(*words)
            assert "code = FailedPrecondition" in failed.stderr, failed
            assert f"{hanging}/runtime is no program; install it" in failed.stderr
        node.crictl("stop", "-t", "1", container)
        assert node.exited(container)["exitCode"] == 137
        node.crictl("rm", container)
    finally:
        away.rename(hanging / "runtime")


@pytest.mark.parametrize("runtime", ["gvisor", "debian-gvisor"])
def test_a_kernel_of_its_own_that_hangs(node: Node, pod: str) -> None:
    """Nothing that the runtime asks it is answered."""
    container = node.container(pod, "stopped", "sleep", "1000")
    record = json.loads(Path(f"{node.run_dir}/containers/{container}/state.json").read_text())
    os.kill(record["pid"], signal.SIGSTOP)
    node.crictl("stop", "-t", "1", container)
    assert node.exited(container)["exitCode"] == 137
