"""CreateContainer: layer, spec and record; failure leaves nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cribus.api import events
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import Signal
from cribus.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from cribus.manager import container_create
from cribus.manager.records import State

from tests.unit.manager.conftest import IMAGE, Run, World, as_request, failing, listed, make


def spec_of(world: World, id: str) -> Any:
    path = Path(world.node.container_dir(id)) / "config.json"
    assert path.stat().st_mode & 0o777 == 0o600
    return json.loads(path.read_text())


def test_a_container_is_made_in_two_revisions(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        before = world.store.revisions
        id = await world.created(pod)
        record = world.node.records.containers[id]
        assert world.store.revisions == before + 2
        assert (record.state, record.pod, record.log_path) == (State.CREATED, pod, "/logs/pod/main.log")
        assert record.image_ref.startswith(f"{IMAGE}@")
        assert world.kinds()[-1] == events.CONTAINER_CREATED
        spec = spec_of(world, id)
        assert spec["process"]["args"] == ["sh"]
        assert spec["linux"]["cgroupsPath"] == f"/cribus/{pod}/{id}"
        assert json.loads(world.node.kept.record(id))["id"] == id
        assert json.loads(world.node.kept.spec(id)) == spec

    run(story())


def test_a_missing_image_says_what_to_do(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        error = await failing(world.created(pod, image=ImageSpec(image="localhost/none:1")))
        assert isinstance(error, NotFound)
        assert error.message == "image localhost/none:1 is not present on this node; pull it first"
        assert not world.node.records.containers
        assert not world.layers

    run(story())


def test_an_unknown_pod(world: World, run: Run) -> None:
    assert isinstance(run(failing(world.created("f" * 64))), NotFound)


def test_a_failure_leaves_nothing(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        world.fail["images.prepare"] = [ResourceExhausted("disk full")]
        assert isinstance(await failing(world.created(pod)), ResourceExhausted)
        wrong_user = c.LinuxContainerConfig(security_context=LinuxContainerSecurityContext(run_as_username="ghost"))
        assert isinstance(await failing(world.created(pod, linux=wrong_user)), InvalidArgument)
        assert not any([world.node.records.containers, world.layers])
        assert not listed(world.settings.run, "containers")
        await world.created(pod)

    run(story())


def test_the_same_request_joins_and_a_second_is_refused(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        first, second = await asyncio.gather(world.created(pod), world.created(pod))
        assert first == second
        assert isinstance(await failing(world.created(pod)), AlreadyExists)

    run(story())


def test_a_repeat_and_one_who_gave_up_get_the_same_container(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        first = await as_request("r1", lambda: world.created(pod))
        await world.restart()
        assert await as_request("r1", lambda: world.created(pod)) == first
        late = await as_request("r2", lambda: world.created(pod, "late"), deadline=1)
        assert await as_request("r3", lambda: world.created(pod, "late")) == late

    run(story())


def test_the_stop_signal_of_configuration_then_image(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        world.images[IMAGE] = {**world.images[IMAGE], "StopSignal": "SIGQUIT"}
        of_image = await world.created(pod, "a")
        of_config = await world.created(pod, "b", stop_signal=Signal.SIGNAL_SIGRTMINPLUS3)
        records = world.node.records.containers
        assert (records[of_image].stop_signal, records[of_config].stop_signal) == ("SIGQUIT", "SIGRTMIN+3")

    run(story())


def test_an_image_volume_is_prepared_and_given_back(world: World, run: Run) -> None:
    async def story() -> None:
        make(str(world.base / "layer"))
        pod = await world.pod()
        mount = c.Mount(container_path="/vol", image=ImageSpec(image=IMAGE), readonly=True)
        id = await world.created(pod, mounts=[mount])
        record = world.node.records.containers[id]
        assert world.layers == {id, *record.volumes}
        assert record.volume_refs["/vol"] == record.image_id != ""
        writable = c.Mount(container_path="/vol", image=ImageSpec(image=IMAGE))
        assert isinstance(await failing(world.created(pod, "w", mounts=[writable])), InvalidArgument)
        assert world.layers == {id, *record.volumes}

    run(story())


METADATA = c.ContainerMetadata(name="x")


@pytest.mark.parametrize(
    ("config", "missing"),
    [(c.ContainerConfig(image=ImageSpec(image=IMAGE)), "metadata"), (c.ContainerConfig(metadata=METADATA), "image")],
)
def test_missing_parts(world: World, run: Run, config: c.ContainerConfig, missing: str) -> None:
    async def story() -> None:
        request = c.CreateContainerRequest(pod_sandbox_id=await world.pod(), config=config)
        error = await failing(container_create.create(world.node, request))
        assert isinstance(error, InvalidArgument)
        assert missing in error.message

    run(story())
