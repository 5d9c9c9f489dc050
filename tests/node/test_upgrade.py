"""Every process is replaced, by the same version and by another, under load: no call fails for good,
no line of a log is lost, and pods are what they were."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.harness import Node, until

WRITER = "i=0; while :; do i=$((i+1)); echo line $i; usleep 2000; done"
PACKAGE = Path(__file__).resolve().parents[2] / "services" / "cribus"
# What the next version is: another number, and a field more in every message that it sends.
CHANGES = {
    "bus/service.py": (r'VERSION = "[^"]*"', 'VERSION = "99.0.0"'),
    "bus/codec.py": (
        r"    return msgspec.to_builtins\(message, builtin_types=\(bytes,\)\)",
        "    plain = msgspec.to_builtins(message, builtin_types=(bytes,))\n    return {**plain, 'from_the_future': 1}",
    ),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with harness.node(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a later version of cribus, beside the present one."""
    folder = tmp_path_factory.mktemp("next")
    shutil.copytree(PACKAGE, folder / "src" / "cribus", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in CHANGES.items():
        path = folder / "src" / "cribus" / name
        text, count = re.subn(old, new, path.read_text())
        assert count == 1, name
        path.write_text(text)
    environment = folder / "venv"
    venv.create(environment, symlinks=True)
    [packages] = (environment / "lib").glob("python*/site-packages")
    (packages / "next.pth").write_text("\n".join([str(folder / "src"), *site.getsitepackages()]) + "\n")
    (environment / "bin" / "nats-server").symlink_to(Path(sys.executable).parent / "nats-server")
    return environment


class Load:
    """Callers who never rest. `failures` are calls that failed for good, `again` those that were asked again."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.calls = 0
        self.again: list[str] = []
        self.failures: list[str] = []

    def call(self, *args: str) -> str:
        """One call of a client who asks again when he is told Unavailable, as the kubelet does. A removal
        may have happened by then, which crictl, who looks for the pod first, calls a failure."""
        for attempt in range(20):
            done = self._node.try_crictl(*args)
            self.calls += 1
            if done.returncode == 0:
                return done.stdout.strip()
            if attempt and args[0] == "rmp" and "code = NotFound" in done.stderr:
                return ""
            if "code = Unavailable" not in done.stderr and "connection refused" not in done.stderr:
                break
            self.again.append(done.stderr)
        self.failures.append(f"{args}: {done.stderr}")
        return ""

    def repeat(self, work: Callable[[int], None]) -> None:
        def run() -> None:
            number = 0
            while not self._over.is_set():
                number += 1
                work(number)

        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)


@contextmanager
def load(node: Node, container: str) -> Iterator[Load]:
    """Commands in a container, lists, and pods that come and go."""
    one = Load(node)

    def execs(number: int) -> None:
        said = one.call("exec", "-s", container, "echo", str(number))
        if said != str(number) and not one.failures:
            one.failures.append(f"exec said {said!r} for {number}")

    def pods(number: int) -> None:
        name = f"passing-{number}"
        pod = one.call("runp", str(node.pod_config(name)))
        if pod:
            config = node.container_config(name, "sleep", "1000")
            made = one.call("create", pod, str(config), str(node.base / f"{name}-pod.json"))
            if made:
                one.call("start", made)
            one.call("rmp", "-f", pod)

    one.repeat(execs)
    one.repeat(pods)
    try:
        yield one
    finally:
        one.end()


def processes(node: Node, pod: str) -> dict[str, int]:
    supervisord = int((node.run_dir / "supervisor" / "supervisord.pid").read_text())
    return {**node.services(), "supervisord": supervisord, "shim": node.shim(pod)}


def versions(node: Node) -> dict[str, str]:
    """The version of the last process of each service."""
    lines = [json.loads(line) for line in node.cribus("events", "--kind", "service_started").splitlines()]
    return {one["id"]: one["detail"]["version"] for one in lines}


def whole(node: Node, container: str) -> int:
    """Every line once and in order; how many there are."""
    lines = node.log_lines(container)
    assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
    return len(lines)


def upgraded(node: Node, container: str, how: Callable[[], Any]) -> Load:
    """Upgrade under load. Nothing failed, every process is another, the log goes on."""
    pod = node.json("inspect", container)["info"]["sandboxID"]
    before = processes(node, pod)
    with load(node, container) as callers:
        until(lambda: callers.calls > 3, 20, "the callers are at it")
        how()
        seen = callers.calls
        until(lambda: callers.calls > seen + 3, 20, "the callers go on")
    assert callers.failures == [], callers.again
    after = processes(node, pod)
    assert {name for name, pid in before.items() if after[name] == pid} == set()
    seen = whole(node, container)
    until(lambda: whole(node, container) > seen, 10, "the log goes on")
    assert node.status(container)["state"] == "CONTAINER_RUNNING"
    return callers


def test_in_place(node: Node) -> None:
    pod = node.pod("stays")
    container = node.container(pod, "stays", "sh", "-c", WRITER)
    keeper = node.keeper(container)
    said: list[str] = []
    callers = upgraded(node, container, lambda: said.append(node.cribus("upgrade", timeout=100)))
    assert [line.split()[0] for line in said[0].splitlines()][:-1] == [*harness.SERVICES, "supervisord", "shims"]
    assert node.keeper(container) == keeper, "the container's parent is no process of a version"
    print(f"{callers.calls} calls, {len(callers.again)} of them again")
    node.crictl("rmp", "-f", pod)
    node.assert_clean()


def test_to_a_later_version_and_back(node: Node, following: Path) -> None:
    pod = node.pod("stays")
    container = node.container(pod, "stays", "sh", "-c", WRITER)
    ours = set(versions(node).values())
    assert ours != {"99.0.0"}

    def there() -> None:
        node.cribus("upgrade", "--to", str(following), timeout=100)
        assert set(versions(node).values()) == {"99.0.0"}

    upgraded(node, container, there)
    assert str(following) in (node.run_dir / "supervisor" / "supervisord.conf").read_text()
    upgraded(node, container, lambda: node.cribus("upgrade", timeout=100))
    assert set(versions(node).values()) == ours
    node.crictl("rmp", "-f", pod)
    node.assert_clean()


def test_a_version_that_does_not_start_is_put_back(node: Node, following: Path, tmp_path: Path) -> None:
    pod = node.pod("stays")
    container = node.container(pod, "stays", "sh", "-c", WRITER)
    broken = tmp_path / "broken"
    shutil.copytree(following.parent / "src", broken / "src")
    shutil.copytree(following, broken / "venv", symlinks=True)
    [packages] = (broken / "venv" / "lib").glob("python*/site-packages")
    (packages / "next.pth").write_text("\n".join([str(broken / "src"), *site.getsitepackages()]) + "\n")
    (broken / "src" / "cribus" / "shimd" / "roster.py").write_text("raise SystemExit('broken on purpose')\n")
    conf = (node.run_dir / "supervisor" / "supervisord.conf").read_text()
    argv = [harness.PYTHON, "-m", "cribus.cli", "upgrade", "--to", str(broken / "venv")]
    done = subprocess.run(argv, env=node.env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "shimd does not answer in its new version" in done.stderr
    assert "all are as they were" in done.stderr
    assert (node.run_dir / "supervisor" / "supervisord.conf").read_text() == conf
    assert "99.0.0" not in {version for name, version in versions(node).items() if name != "gateway"}
    assert node.crictl("exec", "-s", container, "echo", "hi") == "hi"
    whole(node, container)
    node.crictl("rmp", "-f", pod)
    node.assert_clean()


def test_no_environment(node: Node, tmp_path: Path) -> None:
    done = harness.run(harness.PYTHON, "-m", "cribus.cli", "upgrade", "--to", str(tmp_path), env=dict(os.environ))
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
