"""containerd with `cribus-oci` in runc's place: the built-in executor behind somebody else's shim."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import registry
from tests.bench import peer
from tests.bench.images import images
from tests.harness import CRICTL, run, until

ROOT = Path(__file__).resolve().parents[2]
_FOUND = shutil.which("containerd", path=f"{peer.programs()}:{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(not _FOUND, reason="containerd is not here: deploy/test builds it")


class Containerd(peer.Containerd):
    image = ""

    def crictl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = run(CRICTL, "-r", self.endpoint, "-i", self.endpoint, "-t", "60s", *args, timeout=90)
        assert not check or done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done

    def file(self, name: str, **fields: Any) -> str:
        path = self.base / name
        path.write_text(json.dumps(fields))
        return str(path)

    def pod(self, name: str, **linux: Any) -> str:
        metadata = {"name": name, "uid": name, "namespace": "default"}
        linux = {"cgroup_parent": self.cgroup, **linux}
        config = self.file("pod.json", metadata=metadata, log_directory=str(self.logs), linux=linux)
        return self.crictl("runp", config).stdout.strip()

    def started(self, pod: str, name: str, script: str, **more: Any) -> str:
        fields = {"metadata": {"name": name}, "image": {"image": self.image}, "log_path": f"{name}.log", **more}
        config = self.file("container.json", command=["sh", "-c", script], **fields)
        container = self.crictl("create", pod, config, str(self.base / "pod.json")).stdout.strip()
        self.crictl("start", container)
        return container

    def status(self, container: str) -> Any:
        return json.loads(self.crictl("inspect", container).stdout)["status"]

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def side() -> Iterator[Containerd]:
    assert _FOUND
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crbc", dir="/var/tmp")))
        folder.chmod(0o711)  # root of a user namespace passes through
        store = stack.enter_context(registry.serve(folder / "registry"))
        program = folder / "cribus-oci"
        program.write_text(
            f'#!/bin/sh\nexport PYTHONPATH={ROOT}/services\nexec {sys.executable} -m cribus.executor.runc_cli "$@"\n'
        )
        program.chmod(0o755)
        one = Containerd(folder / "side", Path(_FOUND).parent, store.host)
        one.runtime = str(program)
        one.image = images(store, folder)
        stack.callback(one.stop)
        one.start()
        stack.callback(one.crictl, "rmp", "-fa")
        one.crictl("pull", one.image)
        yield one


def test_a_life(side: Containerd) -> None:
    pod = side.pod("life")
    script = "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done"
    container = side.started(pod, "life", script)
    boxes = [path for path in (side.state / "runc").rglob("state.json") if path.parent.name == container]
    assert boxes, "cribus-oci made it"
    until(lambda: "out" in side.log("life") and "err" in side.log("life"), 10, "it writes")
    assert side.crictl("exec", "-s", container, "sh", "-c", "echo $((6 * 7))").stdout.strip() == "42"
    assert side.crictl("exec", "-s", container, "sh", "-c", "exit 5", check=False).returncode != 0
    side.crictl("update", "--memory", str(64 << 20), container)
    cgroup = f"{side.cgroup}/{container}"
    limits = [Path(f"/sys/fs/cgroup/memory{cgroup}/memory.limit_in_bytes"), Path(f"/sys/fs/cgroup{cgroup}/memory.max")]
    assert [one.read_text().strip() for one in limits if one.exists()] == [str(64 << 20)]
    stats = json.loads(side.crictl("stats", "-o", "json", container).stdout)["stats"][0]
    assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
    side.crictl("stop", "-t", "10", container)
    assert (side.status(container)["state"], side.status(container)["exitCode"]) == ("CONTAINER_EXITED", 7)
    side.crictl("rmp", "-f", pod)


def test_users_of_its_own(side: Containerd) -> None:
    """containerd asks for a new user namespace with the sandbox, and joins it with the containers."""
    ids = [{"host_id": 300000, "container_id": 0, "length": 65536}]
    options = {"namespace_options": {"userns_options": {"mode": 0, "uids": ids, "gids": ids}}}
    pod = side.pod("users", security_context=options)
    container = side.started(pod, "users", "cat /proc/self/uid_map; sleep 1000", linux={"security_context": options})
    until(lambda: "300000" in side.log("users"), 10, "it writes")
    assert side.crictl("exec", "-s", container, "id", "-u").stdout.strip() == "0"
    pid = json.loads(side.crictl("inspect", container).stdout)["info"]["pid"]
    assert "Uid:\t300000" in Path(f"/proc/{pid}/status").read_text()
    side.crictl("rmp", "-f", pod)
