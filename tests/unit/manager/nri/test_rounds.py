"""What plugins make of pods and containers, and what their failures cost."""

import asyncio
import json
import threading

import pytest
from cribus.api.cri import container as c
from cribus.api.cri import sandbox as s
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import FailedPrecondition, NotFound, Unimplemented
from cribus.manager import container_remove, container_stop, container_update, sandbox_remove, sandbox_stop
from cribus.manager.nri import messages as m
from cribus.manager.nri.events import ALL
from cribus.manager.nri.protobuf import Message
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, failing
from tests.unit.manager.nri.conftest import (
    Stage,
    Staged,
    adjusting,
    asked_limits,
    hanging,
    limits,
    memory,
    refusing,
    sometime,
    spec,
)


async def end(stage: Stage, pod: str, *containers: str) -> None:
    for container in containers:
        await container_stop.stop(stage.node, c.StopContainerRequest(container_id=container, timeout=1))
        await container_remove.remove(stage.node, c.RemoveContainerRequest(container_id=container))
    await sandbox_stop.stop(stage.node, s.StopPodSandboxRequest(pod_sandbox_id=pod))
    await sandbox_remove.remove(stage.node, s.RemovePodSandboxRequest(pod_sandbox_id=pod))


# What is told


def test_a_whole_life_in_order(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            pod = await stage.world.pod("web")
            container = await stage.world.running(pod, "main")
            request = c.UpdateContainerResourcesRequest(
                container_id=container, linux=LinuxContainerResources(cpu_shares=5)
            )
            await container_update.update(stage.node, request)
            stage.node.tree.apply = lambda path, resources: None  # type: ignore[method-assign]
            await container_update.update_pod(
                stage.node, s.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, resources=LinuxContainerResources())
            )
            await end(stage, pod, container)
            assert plugin.methods(pod) == [
                "RunPodSandbox",
                "UpdatePodSandbox",
                "PostUpdatePodSandbox",
                "StopPodSandbox",
                "RemovePodSandbox",
            ]
            assert plugin.methods(container) == [
                "CreateContainer",
                "PostCreateContainer",
                "StartContainer",
                "PostStartContainer",
                "UpdateContainer",
                "PostUpdateContainer",
                "StopContainer",
                "RemoveContainer",
            ]
            told = plugin.heard("StartContainer", container).container
            assert (told.name, told.pid, told.args) == ("main", 100, ["sh"])
            assert plugin.heard("RunPodSandbox", pod).pod.ips == ["10.0.0.2"]
            assert plugin.heard("StopContainer", container).container.exit_code == 143

    run(story())


def test_a_container_that_ends_by_itself(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            container = await stage.world.running(await stage.world.pod())
            stage.world.exit(container, 3)
            told = await asyncio.to_thread(plugin.heard, "StopContainer", container)
            assert (told.container.state, told.container.exit_code) == (4, 3)
            await container_remove.remove(stage.node, c.RemoveContainerRequest(container_id=container))
            assert plugin.methods(container)[-2:] == ["StopContainer", "RemoveContainer"]

    run(story())


def test_a_container_that_never_ran_is_stopped_before_it_is_removed(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            container = await stage.world.created(await stage.world.pod())
            await container_remove.remove(stage.node, c.RemoveContainerRequest(container_id=container))
            assert plugin.methods(container)[-2:] == ["StopContainer", "RemoveContainer"]

    run(story())


def test_a_pod_is_stopped_once_after_its_containers(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            states: list[State] = []

            def stopping(request: m.PodRequest) -> None:
                states.extend(one.state for one in world.node.records.containers.values())

            plugin = await stage.plugin("00-x", {"StopPodSandbox": stopping})
            pod = await world.pod()
            await world.running(pod)
            for _ in range(2):
                await sandbox_stop.stop(stage.node, s.StopPodSandboxRequest(pod_sandbox_id=pod))
            await sandbox_remove.remove(stage.node, s.RemovePodSandboxRequest(pod_sandbox_id=pod))
            assert states == [State.EXITED]
            assert plugin.methods(pod) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]

    run(story())


def test_plugins_are_asked_by_their_index_and_see_what_was_adjusted_before(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            late = await stage.plugin("20-late", {"CreateContainer": adjusting(env=[m.KeyValue(key="B", value="2")])})
            early = await stage.plugin("10-early", {"CreateContainer": adjusting(env=[m.KeyValue(key="A", value="1")])})
            container = await stage.world.created(await stage.world.pod())
            assert "A=1" in late.heard("CreateContainer", container).container.env
            assert "B=2" not in early.heard("CreateContainer", container).container.env
            assert spec(stage.world, container)["process"]["env"][-2:] == ["A=1", "B=2"]

    run(story())


# What is changed


def test_an_adjusted_container(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            linux = m.LinuxContainerAdjustment(
                resources=m.Resources(memory=m.Memory(limit=1 << 20), pids=m.Pids(limit=7)),
                cgroups_path="/elsewhere/c",
                oom_score_adj=500,
            )
            await stage.plugin("00-x", {"CreateContainer": adjusting(annotations={"n": "1"}, linux=linux)})
            container = await stage.world.created(await stage.world.pod())
            document = spec(stage.world, container)
            assert document["annotations"]["n"] == "1"
            assert document["process"]["oomScoreAdj"] == 500
            resources = document["linux"]["resources"]
            assert resources["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
            assert resources["pids"] == {"limit": 7}
            record = stage.node.records.containers[container]
            assert record.cgroup == "/elsewhere/c"
            assert record.resources == LinuxContainerResources(memory_limit_in_bytes=1 << 20, oom_score_adj=500)
            # and the copy from which a lost record is rebuilt says the same
            assert json.loads(stage.node.kept.record(container))["cgroup"] == "/elsewhere/c"

    run(story())


def test_what_would_be_wanted_in_vain_is_refused(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            linux = m.LinuxContainerAdjustment(rdt=m.Rdt(closID="gold"))
            await stage.plugin("00-x", {"CreateContainer": adjusting(linux=linux)})
            error = await failing(stage.world.created(await stage.world.pod()))
            assert isinstance(error, Unimplemented)
            assert "want an RDT class: this host has no resctrl file system" in error.message

    run(story())


def test_a_cdi_device_that_a_plugin_wants_is_looked_for(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            wanted = [m.CDIDevice(name="vendor.example/class=one")]
            await stage.plugin("00-x", {"CreateContainer": adjusting(cdi_devices=wanted)})
            error = await failing(stage.world.created(await stage.world.pod()))
            assert isinstance(error, NotFound)
            assert "vendor.example/class=one" in error.message

    run(story())


def test_others_are_updated_and_evicted_when_a_container_is_made(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            other, victim = await world.running(pod, "other"), await world.running(pod, "victim")
            answer = m.CreateContainerResponse(
                update=[limits(other, 1 << 20)], evict=[m.ContainerEviction(container_id=victim, reason="full")]
            )
            await stage.plugin("00-x", {"CreateContainer": lambda _: answer})
            await world.created(pod, "new")
            assert asked_limits(world) == [(other, {"memory": {"limit": 1 << 20, "swap": 1 << 20}})]
            assert memory(world, other) == 1 << 20
            assert spec(world, other)["linux"]["resources"]["memory"]["limit"] == 1 << 20
            assert world.node.records.containers[victim].state is State.EXITED

    run(story())


def test_an_update_that_cannot_be_done_does_not_keep_a_container_from_being_made(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            answer = m.CreateContainerResponse(update=[limits("nobody", 5)])
            await stage.plugin("00-x", {"CreateContainer": lambda _: answer})
            await stage.world.created(await stage.world.pod())

    run(story())


def test_an_update_is_what_plugins_make_of_it(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            target, other = await world.running(pod, "target"), await world.running(pod, "other")

            def halved(request: m.UpdateContainerRequest) -> Message:
                assert request.resources is not None
                assert request.resources.memory is not None
                less = (request.resources.memory.limit or 0) // 2
                return m.ChangeResponse(update=[limits(target, less), limits(other, 1 << 16)])

            await stage.plugin("00-x", {"UpdateContainer": halved})
            asked = LinuxContainerResources(memory_limit_in_bytes=1 << 20, cpu_shares=7)
            request = c.UpdateContainerResourcesRequest(container_id=target, linux=asked)
            await container_update.update(stage.node, request)
            assert (memory(world, target), memory(world, other)) == (1 << 19, 1 << 16)
            record = world.node.records.containers[target]
            assert record.resources is not None
            assert record.resources.cpu_shares == 7

    run(story())


def test_the_end_of_one_changes_others(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            first, other = await world.running(pod, "first"), await world.running(pod, "other")
            answer = m.ChangeResponse(update=[limits(other, 1 << 20)])
            await stage.plugin("00-x", {"StopContainer": lambda _: answer})
            world.exit(first, 0)
            await sometime(lambda: asked_limits(world))
            assert memory(world, other) == 1 << 20

    run(story())


def test_a_plugin_updates_by_itself(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            container = await world.running(await world.pod())
            plugin = await stage.plugin("00-x")
            asked = [limits(container, 1 << 20), limits("nobody", 5), limits("nobody", 6, ignore=True)]
            failed = await asyncio.to_thread(plugin.update, *asked)
            assert [one.container_id for one in failed] == ["nobody"]
            assert memory(world, container) == 1 << 20

    run(story())


def test_an_update_of_a_container_that_waits_for_the_plugin_itself(staged: Staged, run: Run) -> None:
    """While it answers StartContainer it wants that very container changed: that fails, and nothing hangs."""

    async def story() -> None:
        async with staged() as stage:
            failed: list[m.ContainerUpdate] = []
            done = threading.Event()

            def start(request: m.ContainerRequest) -> None:
                assert request.container is not None
                wanted = limits(request.container.id, 1 << 20)

                def ask() -> None:
                    failed.extend(plugin.update(wanted))
                    done.set()

                threading.Thread(target=ask).start()

            plugin = await stage.plugin("00-x", {"StartContainer": start})
            container = await stage.world.running(await stage.world.pod())
            assert await asyncio.to_thread(done.wait, 5)
            assert stage.node.records.containers[container].state is State.RUNNING

    run(story())


# What is refused


def test_a_refused_pod_leaves_nothing(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            first = await stage.plugin("00-first")
            plugin = await stage.plugin("10-x", {"RunPodSandbox": refusing})
            error = await failing(stage.world.pod())
            assert isinstance(error, FailedPrecondition)
            assert "10-x refuses RunPodSandbox: not on my node" in error.message
            assert stage.world.clean()
            (_, request) = next(one for one in first.asked if one[0] == "RunPodSandbox")
            assert first.methods(request.pod.id) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
            plugin.answers = {}
            await stage.world.pod()

    run(story())


def test_a_refused_container_leaves_nothing(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            first = await stage.plugin("00-first")
            plugin = await stage.plugin("10-x", {"CreateContainer": refusing})
            pod = await stage.world.pod()
            assert isinstance(await failing(stage.world.created(pod)), FailedPrecondition)
            assert not stage.node.records.containers
            assert not stage.world.layers
            (_, request) = next(one for one in first.asked if one[0] == "CreateContainer")
            assert first.methods(request.container.id) == ["CreateContainer", "StopContainer", "RemoveContainer"]
            plugin.answers = {}
            await stage.world.created(pod)

    run(story())


def test_a_refused_start(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            await stage.plugin("00-x", {"StartContainer": refusing})
            assert isinstance(await failing(stage.world.running(await stage.world.pod())), FailedPrecondition)
            (record,) = stage.node.records.containers.values()
            assert (record.state, record.reason) == (State.EXITED, "StartError")
            assert not stage.world.states

    run(story())


def test_a_refused_update_changes_nothing(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            container = await stage.world.running(await stage.world.pod())
            await stage.plugin("00-x", {"UpdateContainer": refusing, "UpdatePodSandbox": refusing})
            asked = LinuxContainerResources(cpu_shares=7)
            request = c.UpdateContainerResourcesRequest(container_id=container, linux=asked)
            assert isinstance(await failing(container_update.update(stage.node, request)), FailedPrecondition)
            assert not asked_limits(stage.world)
            (pod,) = stage.node.records.sandboxes
            of_pod = s.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod, resources=asked)
            assert isinstance(await failing(container_update.update_pod(stage.node, of_pod)), FailedPrecondition)
            assert stage.node.records.sandboxes[pod].config.linux is None

    run(story())


def test_what_has_happened_cannot_be_refused(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            past = ("PostCreateContainer", "PostStartContainer", "StopContainer", "RemoveContainer")
            answers = dict.fromkeys((*past, "StopPodSandbox", "RemovePodSandbox"), refusing)
            await stage.plugin("00-x", answers)
            second = await stage.plugin("10-y")
            pod = await stage.world.pod()
            container = await stage.world.running(pod)
            await end(stage, pod, container)
            assert stage.world.clean()
            assert set(past) < set(second.methods(container))

    run(story())


def test_two_plugins_in_conflict(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            for name in ("00-a", "10-b"):
                await stage.plugin(name, {"CreateContainer": adjusting(env=[m.KeyValue(key="X", value=name)])})
            error = await failing(stage.world.created(await stage.world.pod()))
            assert "00-a and 10-b both set env X" in error.message
            assert not stage.node.records.containers

    run(story())


@pytest.mark.parametrize("verdict", ["rejects", "allows", "dies"])
def test_a_validating_plugin(staged: Staged, run: Run, verdict: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            seen: list[m.ValidateRequest] = []

            def validate(request: m.ValidateRequest) -> Message:
                seen.append(request)
                if verdict == "dies":
                    watcher.socket.shutdown(2)
                return m.ValidateResponse(reject=verdict == "rejects", reason="X is mine")

            await stage.plugin("10-x", {"CreateContainer": adjusting(env=[m.KeyValue(key="X", value="1")])})
            watcher = await stage.plugin("00-v", {"ValidateContainerAdjustment": validate}, ALL)
            pod = await stage.world.pod()
            if verdict == "allows":
                assert await stage.world.created(pod)
            else:
                error = await failing(stage.world.created(pod))
                assert "X is mine" in error.message or verdict == "dies"
            request = seen[0]
            assert request.container is not None
            assert "X=1" not in request.container.env
            assert request.adjust is not None
            assert request.adjust.env == [m.KeyValue(key="X", value="1")]
            assert request.owners is not None
            assert request.owners.owners[request.container.id].compound[6].owners == {"X": "10-x"}
            assert [(one.index, one.name) for one in request.plugins] == [("00", "v"), ("10", "x")]

    run(story())


# What a bad plugin costs


def test_a_plugin_that_hangs_costs_its_deadline(staged: Staged, run: Run) -> None:
    async def story() -> None:
        gate = threading.Event()
        async with staged() as stage:
            plugin = await stage.plugin("00-x", {"RunPodSandbox": hanging(gate)})
            other = await stage.plugin("10-y")
            pod = await stage.world.pod()
            assert stage.node.records.sandboxes[pod].state is State.READY
            assert other.methods(pod) == ["RunPodSandbox"]
            asked = len(plugin.asked)
            await stage.world.running(pod)
            assert len(plugin.asked) == asked  # it is out
            gate.set()
            assert await asyncio.to_thread(plugin.over.wait, 5)

    run(story())


def test_a_plugin_that_dies_in_the_middle_of_a_question(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x", {"CreateContainer": lambda _: plugin.socket.shutdown(2)})
            other = await stage.plugin("10-y", {"CreateContainer": adjusting(args=["top"])})
            container = await stage.world.running(await stage.world.pod())
            assert spec(stage.world, container)["process"]["args"] == ["top"]
            assert "PostStartContainer" in other.methods(container)

    run(story())


def test_text_that_is_not_unicode_does_not_keep_a_plugin_from_hearing(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            envs = [c.KeyValue(key="A", value=b"\xff")]
            container = await stage.world.created(await stage.world.pod(), envs=envs)
            assert "A=?" in plugin.heard("CreateContainer", container).container.env

    run(story())
