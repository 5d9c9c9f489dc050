"""CreateContainer: layer, spec and record; failure leaves nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cribus.api import events
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import PodSandboxConfig
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import Signal
from cribus.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from cribus.manager import container_create, container_start
from cribus.manager.records import State

from tests.unit.manager.conftest import IMAGE, Run, World, as_request, container_config, failing, listed, make


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


def test_the_same_request_joins_and_another_is_refused(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        outcomes = await asyncio.gather(
            world.created(pod), world.created(pod), world.created(pod, args=["x"]), return_exceptions=True
        )
        assert outcomes[0] == outcomes[1]
        assert isinstance(outcomes[2], AlreadyExists)
        assert isinstance(await failing(world.created(pod, args=["x"])), AlreadyExists)

    run(story())


def test_who_asks_for_the_same_gets_the_same_container_until_it_is_started(world: World, run: Run) -> None:
    """The first one's answer may have left just when he gave up."""

    async def story() -> None:
        pod = await world.pod()
        first = await as_request("r1", lambda: world.created(pod))
        assert await as_request("r2", lambda: world.created(pod)) == first
        await world.restart()
        assert await as_request("r3", lambda: world.created(pod)) == first
        assert len(world.node.records.containers) == 1
        await container_start.start(world.node, c.StartContainerRequest(container_id=first))
        assert isinstance(await failing(as_request("r4", lambda: world.created(pod))), AlreadyExists)
        assert await as_request("r1", lambda: world.created(pod)) == first  # sent again by the bus

    run(story())


def test_a_log_in_another_place_is_another_container(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        config = container_config("main", log_path="0.log")
        for folder, refused in (("/logs/a", False), ("/logs/a", False), ("/logs/b", True)):
            asked = c.CreateContainerRequest(
                pod_sandbox_id=pod, config=config, sandbox_config=PodSandboxConfig(log_directory=folder)
            )
            try:
                await container_create.create(world.node, asked)
            except AlreadyExists:
                assert refused
            else:
                assert not refused

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
