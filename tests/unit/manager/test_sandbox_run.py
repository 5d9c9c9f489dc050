"""RunPodSandbox: what it asks for, in which order, and that failure leaves nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus.api import events, executor
from cribus.api.cri import sandbox as s
from cribus.api.cri.container import RemoveContainerRequest
from cribus.api.cri.security import IDMapping, LinuxSandboxSecurityContext, NamespaceOption, UserNamespace
from cribus.api.cri.values import NamespaceMode
from cribus.config import Handler
from cribus.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from cribus.manager import container_remove, sandbox_run, sandbox_stop
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, as_request, failing, pod_config


def modes(**given: Any) -> s.LinuxPodSandboxConfig:
    return s.LinuxPodSandboxConfig(
        security_context=LinuxSandboxSecurityContext(namespace_options=NamespaceOption(**given))
    )


def test_a_pod_comes_up_in_two_revisions(world: World, run: Run) -> None:
    id = run(world.pod(hostname="web"))
    record = world.node.records.sandboxes[id]
    assert (record.state, record.ips, record.cgroup) == (State.READY, ["10.0.0.2"], f"/cribus/{id}")
    assert world.store.revisions == 2
    assert world.kinds() == [events.SANDBOX_READY]
    assert sorted(world.names()) == ["executor.create_pod", "shimd.start_shim"]
    folder = Path(world.node.pod_dir(id))
    assert (folder / "hostname").read_text() == "web\n"
    assert "10.0.0.2\tweb" in (folder / "hosts").read_text()
    assert json.loads(world.node.kept.record(id))["state"] == "ready"


def test_the_record_is_there_before_the_first_step(world: World, run: Run) -> None:
    seen: list[bytes] = []

    def create(request: executor.CreatePod) -> executor.PodCreated:
        seen.append(world.store.data[f"sandboxes.{request.pod}"])
        return world.executor_create_pod(request)

    world.answers["executor.create_pod"] = create
    run(world.pod())
    assert msgspec.json.decode(seen[0]).get("state", "creating") == "creating"


def test_a_pod_in_the_hosts_network(world: World, run: Run) -> None:
    id = run(world.pod(linux=modes(network=NamespaceMode.NODE, pid=NamespaceMode.CONTAINER)))
    asked = next(request for name, request in world.asked if name == "executor.create_pod")
    assert asked.namespaces == ["ipc"]
    assert not world.network.attached
    assert world.node.records.sandboxes[id].ips == []


def test_a_user_namespace(world: World, run: Run) -> None:
    mapping = [IDMapping(host_id=1000, container_id=0, length=65536)]
    run(world.pod(linux=modes(userns_options=UserNamespace(uids=mapping, gids=mapping))))
    asked = next(request for name, request in world.asked if name == "executor.create_pod")
    assert "user" in asked.namespaces
    assert asked.uids == [executor.IdMap(container=0, host=1000, size=65536)]


@pytest.mark.parametrize("step", ["shimd.start_shim", "executor.create_pod", "network"])
def test_a_failure_leaves_nothing(world: World, run: Run, step: str) -> None:
    if step == "network":
        world.network.fail = ResourceExhausted("no address is free")
    else:
        world.fail[step] = [ResourceExhausted("full")]

    async def story() -> None:
        assert isinstance(await failing(world.pod()), ResourceExhausted)
        assert world.clean()
        world.network.fail = None
        await world.pod()  # and the name is free

    run(story())


def test_a_failure_is_undone_though_a_service_is_away_for_a_while(world: World, run: Run) -> None:
    world.network.fail = ResourceExhausted("no address is free")
    world.fail["executor.delete_pod"] = [Unavailable("executor is away")] * 2

    async def story() -> None:
        assert isinstance(await failing(world.pod()), ResourceExhausted)
        assert world.clean()

    run(story())


def test_a_failure_that_cannot_be_undone_does_not_keep_the_name(world: World, run: Run) -> None:
    world.network.fail = ResourceExhausted("no address is free")
    world.fail["executor.delete_pod"] = [Internal("it hangs")]

    async def story() -> None:
        assert isinstance(await failing(world.pod()), ResourceExhausted)
        (left,) = world.node.records.sandboxes.values()
        assert (left.state, left.name, left.torn) == (State.NOTREADY, "", False)
        world.network.fail = None
        await world.pod()

    run(story())


def test_the_same_request_joins_the_running_one(world: World, run: Run) -> None:
    async def story() -> None:
        first, second = await asyncio.gather(world.pod("one"), world.pod("one"))
        assert first == second
        assert world.names().count("executor.create_pod") == 1

    run(story())


def test_another_configuration_of_a_name_is_refused(world: World, run: Run) -> None:
    async def story() -> None:
        outcomes = await asyncio.gather(world.pod("one"), world.pod("one", hostname="x"), return_exceptions=True)
        assert isinstance(outcomes[1], AlreadyExists)
        assert isinstance(await failing(world.pod("one", hostname="x")), AlreadyExists)

    run(story())


def test_another_handler_is_another_pod(world: World, run: Run) -> None:
    async def story() -> None:
        world.node.settings = msgspec.structs.replace(
            world.node.settings, handlers={"runc": Handler(path="/usr/sbin/runc")}
        )
        world.answers["executor.handlers"] = lambda _: executor.Handlers(handlers={"runc": executor.Features()})
        first = await world.pod("one")
        other = s.RunPodSandboxRequest(config=pod_config("one"), runtime_handler="runc")
        error = await failing(sandbox_run.run(world.node, other))
        assert isinstance(error, AlreadyExists)
        assert first in error.message

    run(story())


def test_the_repeat_of_a_request_gets_the_same_pod(world: World, run: Run) -> None:
    async def story() -> None:
        first = await as_request("r1", world.pod)
        node = await world.restart()  # its answer was lost with the process
        assert node.records.sandboxes[first].request == "r1"
        assert await as_request("r1", world.pod) == first

    run(story())


def test_who_asks_for_the_same_gets_the_same_pod_until_it_is_used(world: World, run: Run) -> None:
    """The first one's answer may have left just when he gave up."""

    async def story() -> None:
        first = await as_request("r1", world.pod)
        assert await as_request("r2", world.pod) == first
        assert world.names().count("executor.create_pod") == 1
        await world.restart()
        assert await as_request("r3", world.pod) == first
        container = await world.created(first)
        assert isinstance(await failing(as_request("r4", world.pod)), AlreadyExists)
        await container_remove.remove(world.node, RemoveContainerRequest(container_id=container))
        await sandbox_stop.stop(world.node, s.StopPodSandboxRequest(pod_sandbox_id=first))
        assert isinstance(await failing(as_request("r5", world.pod)), AlreadyExists)

    run(story())


WRONG = {
    "metadata.name": s.PodSandboxConfig(),
    "hostname": pod_config("p", hostname="h" * 65),
    "would change the whole host": pod_config("p", linux=s.LinuxPodSandboxConfig(sysctls={"vm.swappiness": "1"})),
    "the pod uses the host's net": pod_config(
        "p",
        linux=msgspec.structs.replace(modes(network=NamespaceMode.NODE), sysctls={"net.core.somaxconn": "1"}),
    ),
    "TARGET is for containers": pod_config("p", linux=modes(pid=NamespaceMode.TARGET)),
    "POD or NODE": pod_config("p", linux=modes(userns_options=UserNamespace(mode=NamespaceMode.CONTAINER))),
    "exactly one mapping": pod_config("p", linux=modes(userns_options=UserNamespace())),
    "at most 3": pod_config("p", dns_config=s.DNSConfig(servers=["1.1.1.1"] * 4)),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_configuration_is_refused_before_anything_is_done(world: World, run: Run, sentence: str) -> None:
    request = s.RunPodSandboxRequest(config=WRONG[sentence])
    error = run(failing(sandbox_run.run(world.node, request)))
    assert isinstance(error, InvalidArgument)
    assert sentence in error.message
    assert not world.asked
    assert not world.store.data


def test_a_runtime_that_is_not_there_is_refused_rather_than_replaced(world: World, run: Run) -> None:
    handlers = {"runc": Handler(path="/usr/sbin/runc")}
    world.node.settings = msgspec.structs.replace(world.node.settings, handlers=handlers)
    can = executor.Features(missing="there is no /usr/sbin/runc")
    world.answers["executor.handlers"] = lambda _: executor.Handlers(handlers={"runc": can})
    request = s.RunPodSandboxRequest(config=pod_config("p"), runtime_handler="runc")
    assert isinstance(run(failing(sandbox_run.run(world.node, request))), FailedPrecondition)
    assert world.clean()


def test_an_unknown_handler_is_refused(world: World, run: Run) -> None:
    request = s.RunPodSandboxRequest(config=pod_config("p"), runtime_handler="gvisor")
    assert "gvisor" in run(failing(sandbox_run.run(world.node, request))).message


def test_a_stop_waits_for_the_pod_to_be_made(world: World, run: Run) -> None:
    async def story() -> None:
        making = asyncio.ensure_future(world.pod())
        for _ in range(4):
            await asyncio.sleep(0)
        (id,) = world.node.records.sandboxes
        await sandbox_stop.stop(world.node, s.StopPodSandboxRequest(pod_sandbox_id=id))
        assert await making == id
        assert world.node.records.sandboxes[id].state is State.NOTREADY

    run(story())


def test_a_container_cannot_be_made_in_a_stopped_pod(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        await sandbox_stop.stop(world.node, s.StopPodSandboxRequest(pod_sandbox_id=pod))
        assert isinstance(await failing(world.created(pod)), FailedPrecondition)

    run(story())
