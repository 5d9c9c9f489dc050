"""Status of the runtime: whether pods can be made, and what this node can do."""

import asyncio
import ipaddress
import json
import logging
import sys

import msgspec

from cribus.api import executor
from cribus.api.cri import runtime as r
from cribus.api.cri.values import CgroupDriver
from cribus.api.verb import Empty
from cribus.errors import CribusError, InvalidArgument
from cribus.manager import podnet
from cribus.manager.node import Node

_PATIENCE = 5.0  # seconds in which a service that is up answers
_logger = logging.getLogger(__name__)


async def status(node: Node, request: r.StatusRequest) -> r.StatusResponse:
    """RuntimeReady when the executor answers, NetworkReady when pods can be attached."""
    (handlers, runtime), unattachable = await asyncio.gather(_runtime(node), podnet.ready(node))
    conditions = [
        _condition("RuntimeReady", "ExecutorNotReady", runtime),
        _condition("NetworkReady", "NetworkPluginNotReady", unattachable),
    ]
    return r.StatusResponse(
        status=r.RuntimeStatus(conditions=conditions),
        info=_info(node) if request.verbose else {},
        runtime_handlers=[_handler(name, can) for name, can in sorted(handlers.items()) if not can.missing],
        features=r.RuntimeFeatures(
            supplemental_groups_policy=True, user_namespaces_host_network=node.host.idmapped, mount_options=True
        ),
    )


def _condition(kind: str, reason: str, why: str) -> r.RuntimeCondition:
    return r.RuntimeCondition(type=kind, status=not why, reason=reason if why else "", message=why)


async def _runtime(node: Node) -> tuple[dict[str, executor.Features], str]:
    """The runtime handlers; and why containers cannot be run, empty when they can."""
    try:
        answer = await node.call(executor.HANDLERS, Empty(), timeout=_PATIENCE)
    except CribusError as error:
        return {}, error.message
    return answer.handlers, ""


def _handler(name: str, can: executor.Features) -> r.RuntimeHandler:
    features = r.RuntimeHandlerFeatures(recursive_read_only_mounts=can.recursive_readonly, user_namespaces=can.idmapped)
    return r.RuntimeHandler(name=name, features=features)


def _info(node: Node) -> dict[str, str]:
    settings = node.settings
    config = {**msgspec.to_builtins(settings), "stateDir": settings.run, "rootDir": settings.root}
    return {
        "config": json.dumps(config),
        "host": json.dumps(msgspec.to_builtins(node.host)),
        "cgroups": json.dumps({"version": node.tree.version, "driver": node.tree.driver}),
        "python": json.dumps(sys.version.split()[0]),
        "records": json.dumps({"pods": len(node.records.sandboxes), "containers": len(node.records.containers)}),
    }


async def update_config(node: Node, request: r.UpdateRuntimeConfigRequest) -> r.UpdateRuntimeConfigResponse:
    """Where pods get their addresses from here on. Raises InvalidArgument for what is no range."""
    config = request.runtime_config
    cidr = config.network_config.pod_cidr if config and config.network_config else ""
    if cidr:
        for one in cidr.split(","):
            _check_range(one.strip())
        node.network.set_pod_cidr(cidr)
        _logger.info("pod addresses", extra={"pod_cidr": cidr})
    return r.UpdateRuntimeConfigResponse()


def _check_range(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"pod_cidr {text!r} is no range of addresses: {error}") from error


async def runtime_config(node: Node, request: r.RuntimeConfigRequest) -> r.RuntimeConfigResponse:
    """The cgroup driver, which the kubelet must share."""
    driver = CgroupDriver.SYSTEMD if node.tree.driver == "systemd" else CgroupDriver.CGROUPFS
    return r.RuntimeConfigResponse(linux=r.LinuxRuntimeConfiguration(cgroup_driver=driver))
