"""PodSandboxStatus says what the records say."""

import json
from typing import Any

from cribus.api.cri import sandbox as s
from cribus.api.cri.values import PodSandboxState
from cribus.errors import NotFound
from cribus.manager import sandbox_status
from cribus.manager.records import Sandbox, State

from tests.unit.manager.conftest import Run, World, failing


def test_of_a_ready_one(world: World, run: Run) -> None:
    async def story() -> Any:
        pod = await world.pod(labels={"a": "b"})
        await world.running(pod)
        request = s.PodSandboxStatusRequest(pod_sandbox_id=pod[:12], verbose=True)
        return await sandbox_status.status(world.node, request)

    answer = run(story())
    assert answer.status.state is PodSandboxState.SANDBOX_READY
    assert answer.status.network.ip == "10.0.0.2"
    assert answer.status.labels == {"a": "b"}
    assert len(answer.containers_statuses) == 1
    assert answer.timestamp > answer.status.created_at
    info = json.loads(answer.info["info"])
    assert info["netNamespace"].endswith("/ns/net")
    assert {"type": "network", "path": info["netNamespace"]} in info["runtimeSpec"]["linux"]["namespaces"]


def test_two_families() -> None:
    network = sandbox_status.of(Sandbox(id="p", state=State.NOTREADY, ips=["10.0.0.1", "fd00::1"])).network
    assert network == s.PodSandboxNetworkStatus(ip="10.0.0.1", additional_ips=[s.PodIP(ip="fd00::1")])


def test_unknown_and_unfinished(world: World, run: Run) -> None:
    async def story() -> None:
        await world.node.records.put(Sandbox(id="p"))
        for id in ("p", "x"):
            request = s.PodSandboxStatusRequest(pod_sandbox_id=id)
            assert isinstance(await failing(sandbox_status.status(world.node, request)), NotFound)

    run(story())
