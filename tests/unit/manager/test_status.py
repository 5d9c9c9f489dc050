"""Status of the runtime."""

import json
from typing import Any

import msgspec
from cribus.api.cri import runtime as r
from cribus.api.cri.values import CgroupDriver
from cribus.config import Handler
from cribus.errors import InvalidArgument, Unavailable
from cribus.manager import status

from tests.unit.manager.conftest import Run, World, failing


def conditions(answer: Any) -> dict[str, tuple[bool, str]]:
    return {one.type: (one.status, one.message) for one in answer.status.conditions}


def test_ready(world: World, run: Run) -> None:
    world.node.settings = msgspec.structs.replace(world.settings, handlers={"runc": Handler(path="/usr/bin/runc")})
    answer = run(status.status(world.node, r.StatusRequest(verbose=True)))
    assert conditions(answer) == {"RuntimeReady": (True, ""), "NetworkReady": (True, "")}
    assert [one.name for one in answer.runtime_handlers] == ["", "runc"]
    assert answer.features.supplemental_groups_policy
    assert json.loads(answer.info["config"])["stateDir"] == world.settings.run


def test_not_ready_says_why(world: World, run: Run) -> None:
    world.fail["executor.state"] = [Unavailable("nobody serves executor.state")]
    world.network.why = "no CNI list in /etc/cni/net.d"
    answer = run(status.status(world.node, r.StatusRequest()))
    assert conditions(answer) == {
        "RuntimeReady": (False, "nobody serves executor.state"),
        "NetworkReady": (False, "no CNI list in /etc/cni/net.d"),
    }
    assert answer.info == {}


def test_configuration(world: World, run: Run) -> None:
    async def story() -> None:
        def wanted(cidr: str) -> r.UpdateRuntimeConfigRequest:
            network = r.NetworkConfig(pod_cidr=cidr)
            return r.UpdateRuntimeConfigRequest(runtime_config=r.RuntimeConfig(network_config=network))

        await status.update_config(world.node, wanted("10.1.0.0/16,fd00::/64"))
        assert world.network.cidr == "10.1.0.0/16,fd00::/64"
        await status.update_config(world.node, r.UpdateRuntimeConfigRequest())
        assert isinstance(await failing(status.update_config(world.node, wanted("nonsense"))), InvalidArgument)
        answer = await status.runtime_config(world.node, r.RuntimeConfigRequest())
        assert answer.linux == r.LinuxRuntimeConfiguration(cgroup_driver=CgroupDriver.CGROUPFS)

    run(story())
