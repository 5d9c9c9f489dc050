"""PodSandboxStatus: what the records say of a pod and its containers."""

import json
import time
from typing import Any

import msgspec

from cribus.api.cri import sandbox as s
from cribus.api.cri.container import PodSandboxStatusResponse
from cribus.api.cri.values import PodSandboxState
from cribus.errors import NotFound
from cribus.manager import container_status, spec_namespaces
from cribus.manager.node import Node
from cribus.manager.records import Sandbox, State
from cribus.manager.wanted import pod_modes


async def status(node: Node, request: s.PodSandboxStatusRequest) -> PodSandboxStatusResponse:
    """Raises NotFound."""
    record = node.records.sandbox(request.pod_sandbox_id)
    if record.state is State.CREATING:
        raise NotFound(f"pod {record.id} is being created")
    info = {"info": _info(node, record)} if request.verbose else {}
    return msgspec.structs.replace(seen(node, record), info=info)


def seen(node: Node, record: Sandbox, without: str = "") -> PodSandboxStatusResponse:
    """The pod and its containers as they are now, but for the container `without`."""
    members = [one for one in node.records.in_pod(record.id) if one.state in container_status.VISIBLE]
    return PodSandboxStatusResponse(
        status=of(record),
        containers_statuses=[container_status.of(one) for one in members if one.id != without],
        timestamp=time.time_ns(),
    )


def state_of(record: Sandbox) -> PodSandboxState:
    ready = record.state is State.READY
    return PodSandboxState.SANDBOX_READY if ready else PodSandboxState.SANDBOX_NOTREADY


def of(record: Sandbox) -> s.PodSandboxStatus:
    """A record as CRI's status."""
    ips = record.ips
    network = s.PodSandboxNetworkStatus(
        ip=ips[0] if ips else "", additional_ips=[s.PodIP(ip=address) for address in ips[1:]]
    )
    return s.PodSandboxStatus(
        id=record.id,
        metadata=record.config.metadata,
        state=state_of(record),
        created_at=record.created_at,
        network=network,
        linux=s.LinuxPodSandboxStatus(namespaces=s.Namespace(options=pod_modes(record))),
        labels=record.config.labels,
        annotations=record.config.annotations,
        runtime_handler=record.handler,
    )


def _info(node: Node, record: Sandbox) -> str:
    """What containerd gives under the same names, and where things lie."""
    return json.dumps(
        {
            "pid": record.pid,
            "state": record.state,
            "reason": record.reason,
            "netNamespace": record.namespaces.get("net", ""),
            "namespaces": record.namespaces,
            "cgroup": record.cgroup,
            "runtimeHandler": record.handler,
            "runDir": node.pod_dir(record.id),
            "config": msgspec.to_builtins(record.config, str_keys=True),
            "runtimeSpec": _spec(record),
        }
    )


def _spec(record: Sandbox) -> dict[str, Any]:
    """What a runtime that starts a container for the pod itself would have of it in its spec: there is where
    others look for a pod's namespaces."""
    namespaces = [
        {"type": kind, "path": record.namespaces[short]}
        for short, kind in (*spec_namespaces.OF_POD, ("pid", "pid"))
        if short in record.namespaces
    ]
    return {"hostname": record.config.hostname, "linux": {"namespaces": namespaces, "cgroupsPath": record.cgroup}}
