"""Lists and their streams at 1,000 containers: the same items whole and in pages, and no memory that stays."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cribus.gateway.cri import api_pb2 as pb

from tests.cri import Cri
from tests.harness import PYTHON, Node, run, until

PODS, EACH = 100, 10
# Written as the manager writes them; it reads them when it starts.
_FILL = f"""
import msgspec
from cribus import config
from cribus.api.cri.container import ContainerConfig, ContainerMetadata
from cribus.api.cri.sandbox import PodSandboxConfig, PodSandboxMetadata
from cribus.manager import podfiles
from cribus.manager.records import Container, Sandbox, State, key

def records():
    for pod in range({PODS}):
        meta = PodSandboxMetadata(name=f"p{{pod}}", uid=f"u{{pod}}", namespace="many")
        made = Sandbox(id=f"{{pod:064x}}", name=f"p{{pod}}", state=State.NOTREADY, torn=True, created_at=pod + 1,
                       config=PodSandboxConfig(metadata=meta, labels={{"third": str(pod % 3)}}))
        yield made
        for box in range({EACH}):
            config = ContainerConfig(metadata=ContainerMetadata(name=f"b{{box}}"), annotations={{"note": "x" * 3000}})
            yield Container(id=f"c{{pod:031x}}{{box:032x}}", pod=made.id, name=f"b{{box}} of p{{pod}}", config=config,
                            state=State.EXITED, created_at=pod + 1)

for one in records():
    podfiles.write_atomic(f"{{config.load().run}}/records/{{key(one)}}.json", msgspec.json.encode(one), 0o600)
"""


@pytest.fixture
def full(cri: Cri, clean: Node) -> Iterator[Cri]:
    """A node with so many containers, which ended long ago."""
    done = run(PYTHON, "-c", _FILL, env=clean.env)
    assert done.returncode == 0, done.stderr
    os.kill(clean.services()["manager"], signal.SIGKILL)
    until(lambda: len(cri.call("ListPodSandbox").items) == PODS, 20, "the records are read")
    yield cri
    with ThreadPoolExecutor(8) as workers:
        for _ in workers.map(lambda pod: cri.call("RemovePodSandbox", pod_sandbox_id=f"{pod:064x}"), range(PODS)):
            pass


def _streamed(cri: Cri, method: str, field: str, **fields: Any) -> list[Any]:
    pages = [list(getattr(page, field)) for page in cri.stub(method)(cri.request(method, **fields), timeout=60)]
    assert all(pages)
    assert all(len(page) <= 100 for page in pages)
    return [item for page in pages for item in page]


def _memory(pid: int) -> int:
    """Bytes that are a process's own (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:"))) << 10


def test_whole_and_streamed_are_the_same(full: Cri) -> None:
    whole = list(full.call("ListContainers").containers)
    assert len(whole) == PODS * EACH  # 3 MB: several messages of the bus
    assert _streamed(full, "StreamContainers", "containers") == whole
    assert [one.created_at for one in whole] == sorted((one.created_at for one in whole), reverse=True)
    pods = list(full.call("ListPodSandbox").items)
    assert _streamed(full, "StreamPodSandboxes", "pod_sandboxes") == pods
    _filters_hold_for_both(full)


WANTED: list[tuple[dict[str, Any], int]] = [
    ({"pod_sandbox_id": f"{7:064x}"}, EACH),
    ({"id": f"c{7:031x}"}, EACH),
    ({"state": {"state": "CONTAINER_RUNNING"}}, 0),
    ({"state": {"state": "CONTAINER_EXITED"}}, PODS * EACH),
    ({"label_selector": {"no": "such"}}, 0),
]


def _filters_hold_for_both(full: Cri) -> None:
    for wanted, count in WANTED:
        whole = list(full.call("ListContainers", filter=wanted).containers)
        assert len(whole) == count
        assert _streamed(full, "StreamContainers", "containers", filter=wanted) == whole
    third = list(full.call("ListPodSandbox", filter={"label_selector": {"third": "2"}}).items)
    assert [one.labels["third"] for one in third] == ["2"] * (PODS // 3)


def test_lists_leave_no_memory_behind(full: Cri, clean: Node) -> None:
    def round() -> None:
        for _ in range(5):
            full.call("ListContainers")
            _streamed(full, "StreamContainers", "containers")
            _streamed(full, "StreamPodSandboxes", "pod_sandboxes")
            full.call("ListContainerStats")

    services = [clean.services()[name] for name in ("gateway", "manager")]
    for _ in range(2):  # allocators and caches are filled
        round()
    before = [_memory(pid) for pid in services]
    for _ in range(4):
        round()
    grown = [_memory(pid) - had for pid, had in zip(services, before, strict=True)]
    assert max(grown) < 6 << 20, grown  # 20 whole lists are 60 MB, and their pages as much again


def test_a_stalled_stream_costs_a_page_and_not_the_list(full: Cri, clean: Node) -> None:
    gateway = clean.services()["gateway"]
    full.call("ListContainers")
    stalled = []
    before = _memory(gateway)
    for _ in range(20):
        call = full.stub("StreamContainers")(pb.StreamContainersRequest())
        next(call)
        stalled.append(call)
    assert _memory(gateway) - before < 20 * (2 << 20)
    for call in stalled:
        assert sum(len(page.containers) for page in call) == PODS * EACH - 100


def test_statistics_and_images_are_streamed_too(cri: Cri) -> None:
    pods = [cri.pod() for _ in range(3)]
    boxes = {pod.running("sleep", "1000") for pod in pods}
    found = _streamed(cri, "StreamContainerStats", "container_stats")
    assert {one.attributes.id for one in found} == boxes
    found = _streamed(cri, "StreamPodSandboxStats", "pod_sandbox_stats")
    assert {one.attributes.id for one in found} == {pod.id for pod in pods}
    found = _streamed(cri, "StreamPodSandboxMetrics", "pod_sandbox_metrics")
    assert {one.pod_sandbox_id for one in found} == {pod.id for pod in pods}
    assert all(one.metrics and one.container_metrics for one in found)
    images = list(cri.call("ListImages").images)
    assert images
    assert _streamed(cri, "StreamImages", "images") == images
