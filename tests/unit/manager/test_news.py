"""An event has the pod as it was at that moment."""

import msgspec
from cribus.api import events
from cribus.api.cri.container import PodSandboxStatusResponse, RemoveContainerRequest, StopContainerRequest
from cribus.api.cri.sandbox import RemovePodSandboxRequest
from cribus.api.cri.values import ContainerState, PodSandboxState
from cribus.api.events import Event
from cribus.manager import container_remove, container_stop, news, sandbox_remove
from cribus.manager.records import Container, Sandbox, State

from tests.unit.manager.conftest import Run, World


def state(event: Event) -> PodSandboxStatusResponse:
    return msgspec.msgpack.decode(event.state, type=PodSandboxStatusResponse)


def test_a_whole_life(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        box = await world.running(pod)
        await container_stop.stop(world.node, StopContainerRequest(container_id=box))
        await container_remove.remove(world.node, RemoveContainerRequest(container_id=box))
        await sandbox_remove.remove(world.node, RemovePodSandboxRequest(pod_sandbox_id=pod))
        seen = [(event.kind, [one.state for one in state(event).containers_statuses]) for event in world.told]
        assert seen == [
            (events.SANDBOX_READY, []),
            (events.CONTAINER_CREATED, [ContainerState.CONTAINER_CREATED]),
            (events.CONTAINER_STARTED, [ContainerState.CONTAINER_RUNNING]),
            (events.CONTAINER_STOPPED, [ContainerState.CONTAINER_EXITED]),
            (events.CONTAINER_REMOVED, []),
            (events.SANDBOX_STOPPED, []),
            (events.SANDBOX_REMOVED, []),
        ]
        pods = [state(event).status for event in world.told]
        assert [one.id for one in pods if one] == [pod] * 7  # the last too: the kubelet knows by it what was removed
        assert [one.state for one in pods if one] == [PodSandboxState.SANDBOX_READY] * 5 + [
            PodSandboxState.SANDBOX_NOTREADY
        ] * 2
        times = [state(event).timestamp for event in world.told]
        assert times == sorted(times)

    run(story())


def test_news_carry_the_exit(world: World) -> None:
    over = Container(id="c", pod="p", state=State.EXITED, exit_code=137, reason="OOMKilled", changed_at=5)
    event = news.of(world.node, over, events.CONTAINER_STOPPED, 5)
    assert (event.kind, event.pod, event.exit_code, event.oom, event.at) == ("container_stopped", "p", 137, True, 5)
    assert event.exit_known
    assert event.state == b""  # its pod is not known


def test_a_state_that_no_message_can_carry_is_left_out(world: World, run: Run) -> None:
    async def story() -> None:
        await world.pod(annotations={"huge": "x" * (1 << 20)})
        assert [event.state for event in world.told] == [b""]

    run(story())


def test_a_pod_tells_for_itself(world: World) -> None:
    event = news.of(world.node, Sandbox(id="p", state=State.READY), events.SANDBOX_READY, 3)
    assert (event.id, event.pod, event.at) == ("p", "p", 3)
