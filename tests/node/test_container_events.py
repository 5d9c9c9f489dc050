"""GetContainerEvents: each event once and in order, with the pod as it was, for every reader, whatever is killed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from cribus.gateway.cri import api_pb2 as pb

from tests.cri import Cri
from tests.harness import Node, until

Told = tuple[str, str]  # kind, id of a container or a pod
LIFE = ["CREATED", "STARTED", "STOPPED", "DELETED"]


class Reader:
    """A client that reads events in a thread of its own."""

    def __init__(self, cri: Cri, *metadata: tuple[str, str]) -> None:
        self.events: list[Any] = []
        self.failed: grpc.RpcError | None = None
        self.call = cri.stub("GetContainerEvents")(pb.GetEventsRequest(), metadata=metadata, wait_for_ready=True)
        self.begin = dict(self.call.initial_metadata())  # it misses nothing from here on
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.call:
                self.events.append(event)
        except grpc.RpcError as error:
            self.failed = error

    def told(self) -> list[Told]:
        return [(_kind(event), event.container_id) for event in self.events]

    def heard(self, count: int) -> list[Told]:
        until(lambda: len(self.events) >= count, 20, f"{count} events, not {self.told()}")
        return self.told()

    def close(self) -> None:
        self.call.cancel()
        self._thread.join()


def _kind(event: Any) -> str:
    name: str = pb.ContainerEventType.Name(event.container_event_type)
    return name.removeprefix("CONTAINER_").removesuffix("_EVENT")


@contextmanager
def reading(cri: Cri, *metadata: tuple[str, str]) -> Iterator[Reader]:
    reader = Reader(cri, *metadata)
    try:
        yield reader
    finally:
        reader.close()


def _a_life(cri: Cri) -> list[Told]:
    """A pod and a container from beginning to end: what must be told of it."""
    pod = cri.pod()
    box = pod.running("sleep", "1000")
    cri.call("StopContainer", container_id=box, timeout=0)
    cri.call("RemoveContainer", container_id=box)
    cri.call("StopPodSandbox", pod_sandbox_id=pod.id)
    pod.remove()
    return [
        ("CREATED", pod.id),
        ("STARTED", pod.id),
        *((kind, box) for kind in LIFE),
        ("STOPPED", pod.id),
        ("DELETED", pod.id),
    ]


def test_a_life_with_the_pod_as_it_was_each_time(cri: Cri) -> None:
    with reading(cri) as reader:
        expected = _a_life(cri)
        assert reader.heard(len(expected)) == expected
    pods = [event.pod_sandbox_status for event in reader.events]
    assert {pod.id for pod in pods} == {expected[0][1]}
    assert all(pod.metadata.uid for pod in pods)  # by it the kubelet knows whose event it is
    ready, gone = pb.SANDBOX_READY, pb.SANDBOX_NOTREADY
    assert [pod.state for pod in pods] == [ready] * 6 + [gone] * 2
    states = [[one.state for one in event.containers_statuses] for event in reader.events]
    created, running, exited = pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED
    assert states == [[], [], [created], [running], [exited], [], [], []]
    assert reader.events[4].containers_statuses[0].exit_code == 137
    times = [event.created_at for event in reader.events]
    assert times == sorted(times)


def test_an_exit_by_itself_is_told_with_its_code(cri: Cri) -> None:
    pod = cri.pod()
    with reading(cri) as reader:
        box = pod.running("sh", "-c", "exit 3")
        assert reader.heard(3) == [(kind, box) for kind in LIFE[:3]]
    assert reader.events[-1].containers_statuses[0].exit_code == 3


def test_a_pod_that_could_not_be_made_is_no_news(cri: Cri) -> None:
    with reading(cri) as reader:
        code, _ = cri.refused("RunPodSandbox", config=cri.pod_config(linux={"cgroup_parent": "../.."}))
        assert code == "INVALID_ARGUMENT"
        pod = cri.pod()
        missing = {"image": {"image": "localhost/none:1"}}
        assert pod.refused("true", **missing)[0] == "NOT_FOUND"
        pod.remove()
        assert reader.heard(4) == [("CREATED", pod.id), ("STARTED", pod.id), ("STOPPED", pod.id), ("DELETED", pod.id)]


def test_many_readers_and_one_that_does_not_read(cri: Cri) -> None:
    stalled = cri.stub("GetContainerEvents")(pb.GetEventsRequest())
    stalled.initial_metadata()
    # A state of some 60 KiB, so that what the stalled one does not take fills its window.
    note = {"note": "x" * 60_000}
    readers = [Reader(cri) for _ in range(20)]
    try:
        pods = [cri.pod(annotations=note) for _ in range(4)]
        for pod in pods:
            pod.remove()
        lives = [(kind, pod.id) for pod in pods for kind in LIFE[:2]]
        lives += [(kind, pod.id) for pod in pods for kind in LIFE[2:]]
        for reader in readers:
            assert reader.heard(len(lives)) == lives
    finally:
        for reader in readers:
            reader.close()
    late = [(_kind(next(stalled)), pod.id) for pod in pods for _ in range(2)]
    late += [(_kind(next(stalled)), pod.id) for pod in pods for _ in range(2)]
    assert late == lives
    stalled.cancel()


@pytest.mark.parametrize("part", ["manager", "nats", "images", "executor", "shimd"])
def test_a_kill_ends_no_stream_and_loses_no_event(cri: Cri, clean: Node, part: str) -> None:
    with reading(cri) as reader:
        expected = _a_life(cri)
        os.kill(clean.services()[part], signal.SIGKILL)
        expected += _a_life(cri)
        assert reader.heard(len(expected)) == expected
        pod = cri.pod()
        box = pod.running("sleep", "1000")
        os.kill(clean.services()[part], signal.SIGKILL)
        cri.call("StopContainer", container_id=box, timeout=0)
        pod.remove()
        expected += [("CREATED", pod.id), ("STARTED", pod.id), *((kind, box) for kind in LIFE[:3])]
        reader.heard(len(expected) + 3)
        assert reader.told()[: len(expected)] == expected
        assert sorted(reader.told()[len(expected) :]) == sorted(
            [("DELETED", box), ("STOPPED", pod.id), ("DELETED", pod.id)]
        )
        assert reader.failed is None


def test_a_reader_goes_on_with_the_next_gateway(cri: Cri, clean: Node) -> None:
    with reading(cri) as reader:
        expected = _a_life(cri)
        reader.heard(3)
        os.kill(clean.services()["gateway"], signal.SIGKILL)
        until(lambda: reader.failed, 10, "the stream breaks")
    taken = len(reader.events)
    clean.cribus("status")
    until(lambda: clean.try_crictl("version").returncode == 0, 10, "the next gateway")
    expected += _a_life(cri)
    after = ("cribus-events-after", reader.begin["cribus-events-after"])
    with reading(cri, after, ("cribus-events-taken", str(taken))) as next_reader:
        rest = next_reader.heard(len(expected) - taken)
    assert reader.told() + rest == expected
