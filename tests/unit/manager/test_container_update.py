"""New limits: in the kernel, in the spec and in the record."""

import json
from pathlib import Path
from typing import Any

from cribus.api.cri import container as c
from cribus.api.cri import sandbox as s
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager import container_update, sandbox_stop

from tests.unit.manager.conftest import Run, World, delete, failing

LIMITS = LinuxContainerResources(cpu_shares=200)


def request(id: str, linux: LinuxContainerResources | None = LIMITS) -> c.UpdateContainerResourcesRequest:
    return c.UpdateContainerResourcesRequest(container_id=id, linux=linux)


def spec(world: World, id: str) -> Any:
    return json.loads(Path(world.node.container_dir(id), "config.json").read_text())


def test_of_a_running_one(world: World, run: Run) -> None:
    async def story() -> None:
        old = c.LinuxContainerConfig(resources=LinuxContainerResources(memory_limit_in_bytes=5))
        id = await world.running(await world.pod(), linux=old)
        await container_update.update(world.node, request(id))
        asked = next(one for name, one in world.asked if name == "executor.update")
        assert asked.resources == {"cpu": {"shares": 200}}
        limits = spec(world, id)["linux"]["resources"]
        assert (limits["cpu"], limits["memory"]["limit"]) == ({"shares": 200}, 5)
        assert limits["devices"]
        resources = world.node.records.containers[id].resources
        assert resources == LinuxContainerResources(cpu_shares=200, memory_limit_in_bytes=5)

    run(story())


def test_of_a_created_one_the_spec_alone(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        await container_update.update(world.node, request(id))
        assert "executor.update" not in world.names()
        assert spec(world, id)["linux"]["resources"]["cpu"] == {"shares": 200}

    run(story())


def test_refusals(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        assert isinstance(await failing(container_update.update(world.node, request(id, None))), InvalidArgument)
        world.exit(id, 0)
        for task in list(world.later):
            await task
        assert isinstance(await failing(container_update.update(world.node, request(id))), FailedPrecondition)

    run(story())


def test_a_pods_are_remembered_and_hold(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        applied = []
        world.node.tree.change = lambda path, resources: applied.append((path, resources))  # type: ignore[method-assign]
        await container_update.update_pod(
            world.node, s.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, resources=LIMITS)
        )
        linux = world.node.records.sandboxes[pod].config.linux
        assert linux is not None
        assert linux.resources == LIMITS
        assert applied == [(world.node.records.sandboxes[pod].cgroup, {"cpu": {"shares": 200}})]
        await sandbox_stop.stop(world.node, s.StopPodSandboxRequest(pod_sandbox_id=pod))
        request = s.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, resources=LIMITS)
        assert isinstance(await failing(container_update.update_pod(world.node, request)), FailedPrecondition)

    run(story())


def test_one_from_before_the_host_was_started(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        delete(world.node.container_dir(id), "config.json")
        error = await failing(container_update.update(world.node, request(id)))
        assert isinstance(error, FailedPrecondition)
        assert "remove it" in error.message

    run(story())
