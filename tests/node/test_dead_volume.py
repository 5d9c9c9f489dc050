"""A volume on a file system that never answers delays nothing but the pods that use it, and can be got rid of."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.cri import Cri, Pod
from tests.fuse import Silent, silent
from tests.harness import Node, until


@pytest.fixture
def dead(tmp_path: Path, clean: Node) -> Iterator[Silent]:
    with silent(tmp_path / "dead") as one:
        yield one


def _creating(cri: Cri, pod: Pod, path: Path) -> Any:
    """CreateContainer with this volume, under way."""
    config = pod.container_config("sleep", "1000", mounts=[{"host_path": str(path), "container_path": "/volume"}])
    request = cri.request("CreateContainer", pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)
    return cri.stub("CreateContainer").future(request, timeout=60)


def _others_live(cri: Cri, node: Node) -> None:
    """Every kind of call that has nothing to do with the dead volume."""
    assert node.crictl("ps")
    pod = cri.pod()
    box = pod.running("sleep", "1000")
    assert pod.says(box, "echo", "hi") == "hi\n"
    assert cri.call("ListContainerStats").stats
    assert cri.call("PodSandboxStats", pod_sandbox_id=pod.id).stats.linux.containers
    cri.call("StopContainer", container_id=box, timeout=0)
    pod.remove()


def _speed(cri: Cri, node: Node) -> dict[str, float]:
    """Seconds that each of these takes, the median of five."""
    pod = cri.pod()
    boxes = [pod.running("sleep", "1000") for _ in range(5)]
    calls: dict[str, Callable[[int], Any]] = {
        "crictl ps": lambda _: node.crictl("ps"),
        "crictl stats": lambda _: node.crictl("stats"),
        "ListContainerStats": lambda _: cri.call("ListContainerStats"),
        "StopContainer": lambda k: cri.call("StopContainer", container_id=boxes[k], timeout=0),
    }
    found = {name: statistics.median(_seconds(call, k) for k in range(5)) for name, call in calls.items()}
    pod.remove()
    return found


def _seconds(call: Callable[[int], Any], number: int) -> float:
    began = time.monotonic()
    call(number)
    return time.monotonic() - began


def _code(going: Any) -> tuple[str, str]:
    error = going.exception()
    assert isinstance(error, grpc.RpcError), error
    return error.code().name, error.details()


def _looking(node: Node) -> list[int]:
    """The processes that look at paths for this node's manager, also those that it has given up."""
    manager = node.services()["manager"]
    children = [folder / "children" for folder in Path(f"/proc/{manager}/task").iterdir()]
    return [int(pid) for file in children for pid in file.read_text().split()]


def test_it_hangs_only_the_pod_that_wants_it(cri: Cri, clean: Node, dead: Silent) -> None:
    healthy = cri.pod()
    healthy.running("sleep", "1000", mounts=[{"host_path": "/tmp", "container_path": "/t"}])
    pod = cri.pod()
    before = _speed(cri, clean)
    creating = _creating(cri, pod, dead.path / "data")
    assert dead.asked.wait(10)
    during = _speed(cri, clean)
    print(before, during)
    assert {name: took for name, took in during.items() if took > 5 * before[name] + 0.1} == {}
    _others_live(cri, clean)
    # one with a volume of its own too: the process that looks at paths hangs in one look alone
    cri.pod().running("sleep", "1000", mounts=[{"host_path": "/var", "container_path": "/v"}])
    assert not creating.done()
    code, text = _code(creating)
    assert code == "DEADLINE_EXCEEDED"
    assert f"{dead.path}/data gives no answer within" in text
    asked = dead.requests
    # the kubelet tries again and again: that costs neither time nor another process
    for _ in range(3):
        code, text = _code(_creating(cri, pod, dead.path / "data"))
        assert (code, "gives no answer, since" in text) == ("DEADLINE_EXCEEDED", True)
    assert dead.requests == asked
    _others_live(cri, clean)
    pod.remove()
    assert pod.id not in [one.id for one in cri.call("ListPodSandbox").items]
    (stuck,) = _looking(clean)
    # what hangs in the kernel does not keep the manager from being started anew
    os.kill(clean.services()["manager"], signal.SIGKILL)
    until(lambda: clean.try_crictl("ps").returncode == 0, 10, "the next manager")
    _others_live(cri, clean)
    assert Path(f"/proc/{stuck}").exists()  # it cannot even be killed
    dead.revive()
    until(lambda: not Path(f"/proc/{stuck}").exists(), 10, "what hung has ended")


def test_one_that_dies_under_a_running_container(cri: Cri, clean: Node, dead: Silent) -> None:
    """It is in the container by its parent folder. A process that waits for it cannot be killed; the pod can
    be removed once it can."""
    pod = cri.pod()
    box = pod.running("sleep", "1000", mounts=[{"host_path": str(dead.path.parent), "container_path": "/volume"}])
    waits = cri.stub("ExecSync").future(
        cri.request("ExecSync", container_id=box, cmd=["cat", "/volume/dead/x"], timeout=0), timeout=60
    )
    assert dead.asked.wait(10)
    removing = cri.stub("RemovePodSandbox").future(cri.request("RemovePodSandbox", pod_sandbox_id=pod.id), timeout=60)
    for _ in range(3):
        _others_live(cri, clean)
    assert not removing.done()
    dead.revive()
    removing.exception()  # it may have given up by now; a repeat succeeds
    pod.remove()
    waits.exception()
    assert pod.id not in [one.id for one in cri.call("ListPodSandbox").items]
