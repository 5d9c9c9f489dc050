"""RuntimeConfig, UpdateRuntimeConfig and Status."""

import json
import os
import signal

from cribus.gateway.cri import api_pb2 as pb

from tests.cri import Cri
from tests.harness import Node, until


def test_the_cgroup_driver(cri: Cri) -> None:
    assert cri.call("RuntimeConfig").linux.cgroup_driver == pb.CGROUPFS


def test_pods_get_their_addresses_from_where_the_kubelet_says_also_after_a_restart(cri: Cri, clean: Node) -> None:
    before = cri.call("PodSandboxStatus", pod_sandbox_id=cri.pod().id).status.network.ip
    second = before.split(".")[1]
    base = f"10.{second}.77"
    cri.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": f"{base}.0/24"}})
    try:
        for _ in range(2):
            address = cri.call("PodSandboxStatus", pod_sandbox_id=cri.pod().id).status.network.ip
            assert address.startswith(f"{base}.")
            os.kill(clean.services()["manager"], signal.SIGKILL)
            until(lambda: clean.try_crictl("info").returncode == 0, 10, "the next manager")
    finally:
        cri.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": f"10.{second}.0.0/16"}})
    assert cri.refused("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "x"}})[0] == (
        "INVALID_ARGUMENT"
    )


def test_status_says_what_the_node_can(cri: Cri) -> None:
    answer = cri.call("Status", verbose=True)
    assert {one.type: one.status for one in answer.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    (handler, *_) = answer.runtime_handlers
    assert (handler.name, handler.features.user_namespaces, handler.features.recursive_read_only_mounts) == (
        "",
        True,
        True,
    )
    assert answer.features.supplemental_groups_policy
    assert json.loads(answer.info["config"])["rootDir"]
