"""A pod and its network, as `network` wants to be asked: in threads, because it blocks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cribus.api.cri.sandbox import DNSConfig, PodSandboxMetadata, PortMapping
from cribus.manager.node import Node
from cribus.manager.records import Sandbox
from cribus.network.pods import Pod

T = TypeVar("T")
# Of its own, and many: plugins that hang have a thread each, and must not have those that others wait for.
_threads = ThreadPoolExecutor(128, thread_name_prefix="network")


def pod_of(record: Sandbox) -> Pod:
    """The pod as CNI sees it."""
    config = record.config
    metadata, dns = config.metadata or PodSandboxMetadata(), config.dns_config or DNSConfig()
    servers = {"servers": dns.servers, "searches": dns.searches, "options": dns.options}
    return Pod(
        id=record.id,
        netns=record.namespaces["net"],
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        ports=[_port(one) for one in config.port_mappings if one.host_port > 0],
        annotations=config.annotations,
        dns={name: value for name, value in servers.items() if value},
        cgroup=record.cgroup,
    )


def _port(mapping: PortMapping) -> dict[str, Any]:
    port: dict[str, Any] = {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol.name.lower(),
    }
    return {**port, "hostIP": mapping.host_ip} if mapping.host_ip else port


async def attach(node: Node, record: Sandbox) -> list[str]:
    """Give the pod its interfaces; its addresses. A pod in the host's network has none of its own."""
    if "net" not in record.namespaces:
        return []
    return (await _to_the_end(lambda: node.network.attach(pod_of(record)))).ips


async def detach(node: Node, record: Sandbox) -> None:
    """Take the pod's interfaces away. Idempotent, also for a pod that was never attached."""
    await _to_the_end(lambda: node.network.detach(record.id, record.namespaces.get("net", "")))


async def ready(node: Node) -> str:
    """Why pods cannot be attached now; empty when they can."""
    can, why = await asyncio.get_running_loop().run_in_executor(_threads, node.network.ready)
    return "" if can else why or "the network is not ready"


async def _to_the_end(work: Callable[[], T]) -> T:
    """What `work` answers, run in a thread. A caller that is cancelled waits for it all the same:
    undoing must not begin while doing still runs."""
    task = asyncio.get_running_loop().run_in_executor(_threads, work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
