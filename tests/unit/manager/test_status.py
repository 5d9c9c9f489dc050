"""Status of the runtime."""

import json
from typing import Any

from cribus.api import executor
from cribus.api.cri import runtime as r
from cribus.api.cri.values import CgroupDriver
from cribus.errors import InvalidArgument, Unavailable
from cribus.manager import status

from tests.unit.manager.conftest import Run, World, failing


def conditions(answer: Any) -> dict[str, tuple[bool, str]]:
    return {one.type: (one.status, one.message) for one in answer.status.conditions}


def test_ready(world: World, run: Run) -> None:
    found = {
        "": executor.Features(recursive_readonly=True, idmapped=True),
        "runc": executor.Features(recursive_readonly=True),
        "gone": executor.Features(missing="no program"),
    }
    world.answers["executor.handlers"] = lambda _: executor.Handlers(handlers=found)
    answer = run(status.status(world.node, r.StatusRequest(verbose=True)))
    assert conditions(answer) == {"RuntimeReady": (True, ""), "NetworkReady": (True, "")}
    can = {one.name: one.features for one in answer.runtime_handlers}
    assert can == {
        "": r.RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=True),
        "runc": r.RuntimeHandlerFeatures(recursive_read_only_mounts=True),
    }
    assert answer.features.supplemental_groups_policy
    assert json.loads(answer.info["config"])["stateDir"] == world.settings.run


def test_not_ready_says_why(world: World, run: Run) -> None:
    world.fail["executor.handlers"] = [Unavailable("nobody serves executor.handlers")]
    world.network.why = "no CNI list in /etc/cni/net.d"
    answer = run(status.status(world.node, r.StatusRequest()))
    assert conditions(answer) == {
        "RuntimeReady": (False, "nobody serves executor.handlers"),
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
