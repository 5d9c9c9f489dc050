"""Programs that behave badly on a real node: CNI plugins, and containers themselves."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.gateway.cri import api_pb2 as pb

from tests import harness
from tests.cri import Cri, Pod
from tests.harness import Node, until

_QUIET = '[ "$CNI_COMMAND" = DEL ] && exit 0\n'
# What a plugin does at ADD: the code of RunPodSandbox and what it says.
PLUGINS = {
    "crashes": ("kill -SEGV $$", "Unavailable", "failed with status -11"),
    "ends without a word": ("exit 1", "Unavailable", "it gave no reason"),
    "prints rubbish": ("head -c 1000 /dev/urandom", "FailedPrecondition", "printed no JSON result"),
    "prints without end": ("exec yes", "FailedPrecondition", "printed more than 1048576 bytes and was killed"),
    "prints another's JSON": ("echo '{\"ips\": [7]}'", "FailedPrecondition", "the CNI plugins' result is none"),
    "gives no address": ("echo '{}'", "FailedPrecondition", "gave the pod no address"),
    "lies about addresses": ('echo \'{"ips": [{"address": "x/y"}]}\'', "FailedPrecondition", "result is none"),
    "leaves somebody behind": ("setsid sleep 3 & echo broken >&2; exit 3", "Unavailable", "status 3: broken"),
}


def plugin(node: Node, script: str) -> None:
    path = node.base / "bin" / "bad"
    fresh = path.with_suffix(".new")  # one that runs cannot be written
    fresh.write_text(f"#!/bin/sh\n{script}\n")
    fresh.chmod(0o755)
    fresh.rename(path)
    conf = {"cniVersion": "1.0.0", "name": "bad", "plugins": [{"type": "bad"}]}
    (node.base / "cni" / "10-bad.conflist").write_text(json.dumps(conf))


@pytest.fixture
def node(own_plugins: Node) -> Iterator[Node]:
    yield own_plugins
    plugin(own_plugins, "exit 0")
    own_plugins.try_crictl("rmp", "-f", "-a")
    (own_plugins.base / "cni" / "10-bad.conflist").unlink()
    own_plugins.assert_clean()


@pytest.mark.parametrize("what", PLUGINS)
def test_a_cni_plugin_that(node: Node, what: str) -> None:
    """The pod is refused in words that name the plugin, leaves nothing, and the next one is made."""
    script, code, words = PLUGINS[what]
    plugin(node, _QUIET + script)
    answer = node.try_crictl("runp", str(node.pod_config("bad")))
    assert answer.returncode != 0
    assert f"code = {code}" in answer.stderr, answer.stderr
    assert words in answer.stderr
    assert node.crictl("pods", "-q") == ""
    plugin(node, _QUIET + 'echo \'{"ips": [{"address": "10.9.0.7/24"}]}\'')
    pod = node.pod("bad")
    assert node.json("inspectp", pod)["status"]["network"]["ip"] == "10.9.0.7"


def test_a_cni_plugin_that_cannot_undo(node: Node) -> None:
    """Its pod stays, named, until it can; nobody else is kept."""
    plugin(node, "echo broken >&2; exit 3")
    assert node.try_crictl("runp", str(node.pod_config("kept"))).returncode != 0
    (kept,) = node.crictl("pods", "-q").splitlines()
    assert node.json("inspectp", kept)["status"]["state"] == "SANDBOX_NOTREADY"
    assert "status 3: broken" in node.try_crictl("rmp", "-f", kept).stderr
    other = node.pod("other", linux={"security_context": {"namespace_options": {"network": 2}}})
    node.crictl("rmp", "-f", other)
    plugin(node, _QUIET)
    node.crictl("rmp", "-f", kept)


def test_cni_plugins_that_hang_delay_only_their_pods(node: Node) -> None:
    """More of them than the node has processors; their clients give up, and try again in vain."""
    plugin(node, f"echo $$ >>{node.base}/pids; exec sleep 1000")
    cri = Cri(node)
    pods = [cri.request("RunPodSandbox", config=cri.pod_config(f"hangs-{k}")) for k in range(12)]
    going = [cri.stub("RunPodSandbox").future(one, timeout=60) for one in pods]
    pids = node.base / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == len(pods), 20, "they hang")
    options = {"security_context": {"namespace_options": {"network": "NODE"}}}
    pod = cri.pod(linux=options)
    box = pod.running("sleep", "1000", linux=options)
    assert pod.says(box, "echo", "hi") == "hi\n"
    assert node.crictl("ps", "-q") == box
    assert cri.call("ListContainerStats").stats
    pod.remove()
    assert not any(one.done() for one in going)
    for one in going:
        one.cancel()
    plugin(node, _QUIET + "exit 1")
    for pid in pids.read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: cri.call("ListPodSandbox").items == [], 20, "what hung is gone")
    cri.close()


@pytest.fixture
def pod(cri: Cri) -> Pod:
    return cri.pod()


def _status(cri: Cri, container: str) -> tuple[str, int]:
    found = cri.call("ContainerStatus", container_id=container).status
    return pb.ContainerState.Name(found.state), found.exit_code


def _exited(cri: Cri, container: str) -> int:
    return int(
        until(lambda: (s := _status(cri, container))[0] == "CONTAINER_EXITED" and (s[1] + 1), 20, "its exit is known")
        - 1
    )


def test_a_container_that_forks_without_end(cri: Cri, pod: Pod) -> None:
    """Within its limit of processes; others go on, and it ends when it is told to."""
    cgroup = Path(f"/sys/fs/cgroup/pids/{cri.node.tag}/{pod.id}")
    (cgroup / "pids.max").write_text("60")  # as the kubelet does
    bomb = pod.running("sh", "-c", "while :; do sleep 2000 & done & exec sleep 1000")
    until(lambda: (cgroup / "pids.current").read_text() == "60\n", 30, "it is at its limit")
    other = cri.pod()
    box = other.running("sleep", "1000")
    assert other.says(box, "echo", "hi") == "hi\n"
    assert cri.call("ListContainerStats").stats
    cri.call("StopContainer", container_id=bomb, timeout=0)
    assert _status(cri, bomb) == ("CONTAINER_EXITED", 137)
    cri.call("RemoveContainer", container_id=bomb)


def test_a_container_that_ignores_its_stop_signal(cri: Cri, pod: Pod) -> None:
    deaf = pod.running("sh", "-c", "trap '' TERM INT HUP; touch /deaf; while :; do sleep 1000; done")
    until(lambda: pod.says(deaf, "ls", "/").count("deaf\n"), 20, "it is deaf")
    cri.call("StopContainer", container_id=deaf, timeout=1)
    assert _status(cri, deaf) == ("CONTAINER_EXITED", 137)


def test_a_container_that_fills_its_pipes_and_is_not_read(cri: Cri, pod: Pod) -> None:
    """No log, and a client attached who does not read: it waits for him, and can be asked, stopped and removed."""
    config = {"log_path": ""}
    loud = pod.running("sh", "-c", "exec yes 0123456789", **config)
    client = subprocess.Popen(
        [harness.CRICTL, "-r", f"unix://{cri.node.socket}", "attach", loud],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert client.stdout is not None
        assert client.stdout.readline().strip() in b"0123456789"
        init = Path(f"/proc/{cri.node.json('inspect', loud)['info']['pid']}")
        until(lambda: "pipe" in (init / "wchan").read_text(), 20, "it waits for its reader")
        assert pod.says(loud, "echo", "hi") == "hi\n"
        cri.call("StopContainer", container_id=loud, timeout=0)
        assert _status(cri, loud) == ("CONTAINER_EXITED", 137)
    finally:
        client.kill()
        client.communicate()


def test_containers_that_die_in_their_first_millisecond(cri: Cri, pod: Pod) -> None:
    """Each exit is known with its code, each line is logged, in whatever order start and exit are told."""
    for number in range(20):
        brief = pod.running("sh", "-c", f"echo brief; exit {number}", log_path="brief.log")
        assert _exited(cri, brief) == number
        cri.call("RemoveContainer", container_id=brief)
    log = (cri.node.logs / pod.config["metadata"]["name"] / "brief.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in log] == ["F brief"] * 20
