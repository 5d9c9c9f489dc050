"""`cribus why` names the right cause of failures that are seeded on a real node, each for real."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.linux import mount

from tests import harness
from tests.faulty import Front, Rule, flipped, status
from tests.harness import Node, until
from tests.registry import Entry, Image, Layer, Registry, layer, tar

HANGING = "#!/bin/sh\nexec sleep 1000\n"
REFUSING = """#!/bin/sh
[ "$CNI_COMMAND" = DEL ] && exit 0
echo '{"cniVersion":"1.0.0","code":11,"msg":"no addresses left in 10.9.0.0/24"}'
exit 1
"""


@pytest.fixture
def node(own_plugins: Node) -> Iterator[Node]:
    yield own_plugins
    for path in (own_plugins.base / "cni").iterdir():
        path.unlink()
    own_plugins.try_crictl("rmp", "-f", "-a")
    own_plugins.assert_clean()


def why(node: Node, pod: str) -> dict[str, Any]:
    """What the command says, as a program reads it; the page for people must come too."""
    found: dict[str, Any] = json.loads(node.cribus("why", "--json", pod, check=False))
    assert found["causes"] == [] or found["causes"][0]["text"] in node.cribus("why", pod, check=False)
    return found


def cause(node: Node, pod: str) -> str:
    """The first cause."""
    first = why(node, pod)["causes"][0]
    assert first["level"] == "cause"
    return str(first["text"])


def told(node: Node, pod: str, *words: str) -> None:
    """Wait until the causes and notes have all these words: what is told of a shim comes a moment later."""

    def all_there() -> bool:
        text = "\n".join(one["text"] for one in why(node, pod)["causes"])
        return all(word in text for word in words)

    until(all_there, 10, f"{words} in what is said of {pod}: {why(node, pod)['causes']}")


def crictl_fails(node: Node, *args: str) -> str:
    done = node.try_crictl(*args)
    assert done.returncode != 0
    return done.stderr


def pulls(node: Node, pod: str, image: str) -> None:
    """As the kubelet does: the pull in vain, then the creation in vain."""
    crictl_fails(node, "pull", "--pod-config", str(node.base / f"{pod}-pod.json"), image)


@pytest.fixture
def wrong(registry: Registry, faulty: Front, tmp_path: Path) -> tuple[Front, Layer]:
    """A registry that can be told to do wrong, with the image `app:v1`."""
    one = layer(tmp_path, tar([Entry("app", os.urandom(3000))]))
    registry.push("app", Image([one]), "v1")
    return faulty, one


def test_an_image_that_is_not_there(node: Node, wrong: tuple[Front, Layer]) -> None:
    node.pod("missing")
    pulls(node, "missing", f"{wrong[0].host}/app:v9")
    text = cause(node, "missing")
    assert f"PullImage {wrong[0].host}/app:v9 failed" in text
    assert "there is no such image" in text
    assert "asked by crictl (pid" in text


def test_a_registry_that_answers_500(node: Node, wrong: tuple[Front, Layer]) -> None:
    node.pod("five")
    wrong[0].rules = [Rule("/manifests/", status(500))]
    pulls(node, "five", f"{wrong[0].host}/app:v1")
    text = cause(node, "five")
    assert "answers 500" in text
    assert "in step images.pull.manifest" in text


def test_a_registry_that_lies_about_a_digest(node: Node, wrong: tuple[Front, Layer]) -> None:
    node.pod("liar")
    front, one = wrong
    front.rules = [Rule(one.digest, flipped)]
    pulls(node, "liar", f"{front.host}/app:v1")
    text = cause(node, "liar")
    assert "DATA_LOSS" in text
    assert one.digest in text


def test_an_entry_point_that_does_not_exist(node: Node) -> None:
    pod = node.pod("nope")
    config = node.container_config("nope", "/no/such/program")
    container = node.crictl("create", pod, str(config), str(node.base / "nope-pod.json"))
    crictl_fails(node, "start", container)
    text = cause(node, "nope")
    assert text.startswith("StartContainer nope failed")
    assert "/no/such/program" in text
    assert "no such file" in text


def test_out_of_memory(node: Node) -> None:
    pod = node.pod("hungry")
    limit = {"linux": {"resources": {"memory_limit_in_bytes": 32 << 20}}}
    container = node.container(pod, "hungry", "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=200M", **limit)
    node.exited(container)
    text = cause(node, "hungry")
    assert "container hungry was killed by the kernel because it was out of memory (OOM)" in text
    assert "33.6 MB" in text


def test_an_exit_of_its_own(node: Node) -> None:
    pod = node.pod("three")
    node.exited(node.container(pod, "three", "sh", "-c", "exit 3"))
    assert cause(node, "three") == "container three ended by itself with exit code 3"


def test_killed_from_outside(node: Node) -> None:
    pod = node.pod("shot")
    container = node.container(pod, "shot", "sleep", "1000")
    os.kill(node.json("inspect", container)["info"]["pid"], signal.SIGKILL)
    node.exited(container)
    text = cause(node, "shot")
    assert "container shot was killed by SIGKILL from outside: neither cribus nor the OOM killer sent it" in text


def _plugin(node: Node, script: str) -> None:
    path = node.base / "bin" / "seeded"
    fresh = path.with_suffix(".new")  # one that runs cannot be written
    fresh.write_text(script)
    fresh.chmod(0o755)
    fresh.rename(path)
    conf = {"cniVersion": "1.0.0", "name": "seeded", "plugins": [{"type": "seeded"}]}
    (node.base / "cni" / "10-seeded.conflist").write_text(json.dumps(conf))


@contextlib.contextmanager
def waiting(node: Node, *args: str) -> Iterator[None]:
    """While inside, crictl waits for an answer."""
    endpoint = f"unix://{node.socket}"
    argv = [harness.CRICTL, "-r", endpoint, "-i", endpoint, "-t", "30s", *args]
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        client.kill()
        client.wait()


def test_a_cni_plugin_that_hangs(node: Node) -> None:
    _plugin(node, HANGING)
    with waiting(node, "runp", str(node.pod_config("stuck"))):
        text = until(lambda: _hanging(node, "stuck", "sleep"), 15, "a hanging plugin")
        assert "sleep 1000" in text
        assert "in the system call clock_nanosleep" in text
        assert "RunPodSandbox, asked by crictl (pid" in text
        plugin = int(text.partition("(pid ")[2].partition(")")[0])
        _plugin(node, REFUSING)  # for the DEL that follows
        os.kill(plugin, signal.SIGKILL)
        until(lambda: "RunPodSandbox stuck failed" in _words(node, "stuck"), 15, "it is over")


def _hanging(node: Node, pod: str, program: str) -> str:
    lines = _words(node, pod).splitlines()
    return next((one for one in lines if "hangs" in one and program in one), "")


def _words(node: Node, pod: str) -> str:
    """Causes and notes of something that is under way, a line each; none before anything is known."""
    done = node.cribus("why", "--json", pod, check=False)
    return "\n".join(one["text"] for one in json.loads(done)["causes"]) if done else ""


def test_a_cni_plugin_that_refuses(node: Node) -> None:
    _plugin(node, REFUSING)
    crictl_fails(node, "runp", str(node.pod_config("refused")))
    text = cause(node, "refused")
    assert text.startswith("RunPodSandbox refused failed")
    assert "no addresses left in 10.9.0.0/24" in text


@contextlib.contextmanager
def dead_volume(path: Path) -> Iterator[Path]:
    """A FUSE file system whose server never answers."""
    path.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        mount.mount("dead", str(path), "fuse", (0, f"fd={device},rootmode=40000,user_id=0,group_id=0"))
        yield path
    finally:
        os.close(device)  # whoever waits for it is told that the connection is gone
        mount.umount(str(path))


def test_a_volume_that_hangs(node: Node, tmp_path: Path) -> None:
    pod = node.pod("volume")
    with dead_volume(tmp_path / "dead") as volume:
        mounts = [{"host_path": str(volume), "container_path": "/data"}]
        config = node.container_config("volume", "true", mounts=mounts)
        with waiting(node, "create", pod, str(config), str(node.base / "volume-pod.json")):
            text = until(lambda: _hanging(node, "volume", "manager"), 15, "a hanging volume")
            assert str(volume) in text
            assert "in the system call" in text
            assert "CreateContainer, asked by crictl (pid" in text


def test_an_exec_that_may_not_be_executed(node: Node) -> None:
    pod = node.pod("plain")
    container = node.container(pod, "plain", "sleep", "1000")
    crictl_fails(node, "exec", "-s", container, "/etc/passwd")
    text = cause(node, "plain")
    assert text.startswith("ExecSync plain (/etc/passwd) failed")
    assert "permission denied" in text


def test_a_stop_that_needed_force(node: Node) -> None:
    pod = node.pod("deaf")
    container = node.container(pod, "deaf", "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    until(lambda: node.log_lines(container), 20, "it is deaf")
    node.crictl("stop", "-t", "1", container)
    text = cause(node, "deaf")
    assert "container deaf did not end of SIGTERM within its grace period of 1." in text
    assert "so cribus sent SIGKILL; StopContainer, asked by crictl (pid" in text


def test_a_shim_that_was_killed(node: Node) -> None:
    pod = node.pod("shimless")
    node.container(pod, "shimless", "sleep", "1000")
    shim = node.shim(pod)
    os.kill(shim, signal.SIGKILL)
    told(node, "shimless", f"its shim (pid {shim}) ended: SIGKILL from outside", "took over")
    assert all(one["level"] == "note" for one in why(node, "shimless")["causes"])


def test_a_node_that_was_started_again(node: Node) -> None:
    pod = node.pod("patient")
    node.container(pod, "patient", "sleep", "1000")
    node.cribus("down")
    node.up()
    told(node, "patient", "the whole node was started again at")


def test_a_service_that_is_stopped_by_a_signal(node: Node) -> None:
    node.pod("behind")
    pid = node.services()["images"]
    os.kill(pid, signal.SIGSTOP)
    harness.until(lambda: node.services()["images"] not in (0, pid), 20, "it is replaced")
    told(node, "behind", "images hung and was replaced at", "stopped by a signal")


def test_where_an_image_came_from(node: Node, registry: Registry, busybox: Layer) -> None:
    digest = registry.push("whence", Image([busybox]), "v1")
    image = f"{registry.host}/whence:v1"
    pod = node.pod("whence")
    node.crictl("pull", image)
    node.container(pod, "whence", "sleep", "1000", image={"image": image})
    text = node.cribus("why", "whence", check=False)
    assert f"image {image} pulled from http://{registry.host}, {digest}" in text
    node.crictl("rmp", "-f", pod)
    text = node.cribus("why", "whence", check=False)
    assert "RunPodSandbox" in text, "also when the pod is gone"
    assert "container whence was ended by SIGKILL of StopPodSandbox, asked by crictl (pid" in text
    node.crictl("rmi", image)


def test_what_never_was(node: Node) -> None:
    done = harness.run(harness.PYTHON, "-m", "cribus.cli", "why", "nobody", env=node.env)
    assert done.returncode == 2
    assert "nothing is known of a pod or container nobody" in done.stderr
