"""ContainerStatus says what the record says."""

import json
from typing import Any

import pytest
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.values import ContainerState, Signal
from cribus.errors import NotFound
from cribus.manager import container_status
from cribus.manager.records import Container, State

from tests.unit.manager.conftest import IMAGE, Run, World, failing


def test_of_a_running_one(world: World, run: Run) -> None:
    async def story() -> Any:
        id = await world.running(await world.pod(), labels={"a": "b"})
        return await container_status.status(world.node, c.ContainerStatusRequest(container_id=id, verbose=True))

    answer = run(story())
    status = answer.status
    assert status.state is ContainerState.CONTAINER_RUNNING
    assert status.image.image == IMAGE
    assert status.image_ref.startswith(f"{IMAGE}@")
    assert status.labels == {"a": "b"}
    assert 0 < status.created_at < status.started_at
    assert (status.finished_at, status.exit_code) == (0, 0)
    assert status.user.linux.uid == 0
    assert status.stop_signal is Signal.SIGNAL_SIGTERM
    info = json.loads(answer.info["info"])
    assert info["pid"] == 100
    assert info["runtimeSpec"]["process"]["args"] == ["sh"]


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (State.STARTING, ContainerState.CONTAINER_CREATED),
        (State.STOPPING, ContainerState.CONTAINER_RUNNING),
        (State.REMOVING, ContainerState.CONTAINER_EXITED),
    ],
)
def test_states_between_show_as_the_nearest(state: State, shown: ContainerState) -> None:
    record = Container(id="c", pod="p", state=state, started_at=5, finished_at=9, exit_code=1)
    status = container_status.of(record)
    assert status.state is shown
    assert bool(status.finished_at) == (shown is ContainerState.CONTAINER_EXITED)
    assert bool(status.started_at) == (shown is not ContainerState.CONTAINER_CREATED)


def test_an_image_volume_shows_its_reference() -> None:
    mount = c.Mount(container_path="/v", image=ImageSpec(image="i"))
    config = c.ContainerConfig(mounts=[mount, c.Mount(container_path="/w")])
    record = Container(id="c", pod="p", state=State.CREATED, config=config, volume_refs={"/v": "i@sha256:1"})
    shown = container_status.of(record).mounts
    assert shown[0].image is not None
    assert shown[0].image.image_ref == "i@sha256:1"
    assert shown[1] == config.mounts[1]


def test_one_that_is_being_made_is_not_there(world: World, run: Run) -> None:
    async def story() -> None:
        await world.node.records.put(Container(id="c", pod="p"))
        for id in ("c", "x"):
            request = c.ContainerStatusRequest(container_id=id)
            assert isinstance(await failing(container_status.status(world.node, request)), NotFound)

    run(story())
