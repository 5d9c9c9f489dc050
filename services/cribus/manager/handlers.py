"""What a pod's runtime handler can do: for what must be refused, or told, before the executor tries."""

import msgspec

from cribus.api import executor
from cribus.api.cri.sandbox import LinuxPodSandboxConfig, RunPodSandboxRequest
from cribus.api.cri.values import NamespaceMode
from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition
from cribus.manager.host import Host
from cribus.manager.node import Node


def _outside(node: Node, handler: str) -> bool:
    found = node.settings.handlers.get(handler)
    return found is not None and bool(found.path)


async def check(node: Node, request: RunPodSandboxRequest) -> None:
    """Raises FailedPrecondition when the handler makes no pod, or none with a user namespace. The built-in
    one makes all, and is not asked."""
    handler = request.runtime_handler
    if not _outside(node, handler):
        return
    can = await _asked(node, handler)
    if can.missing:
        raise FailedPrecondition(can.missing)
    linux = (request.config.linux if request.config else None) or LinuxPodSandboxConfig()
    modes = linux.security_context.namespace_options if linux.security_context else None
    users = modes.userns_options if modes else None
    if users is not None and users.mode is NamespaceMode.POD and not can.idmapped:
        raise FailedPrecondition(
            f"runtime handler {handler!r} has no user namespaces: it does not say in `features` that it maps the "
            "owners of mounts; use another handler or no user namespace"
        )


async def host(node: Node, handler: str) -> Host:
    """This host as containers of the handler see it."""
    if not _outside(node, handler):
        return node.host
    can = await _asked(node, handler)
    return msgspec.structs.replace(node.host, recursive_readonly=can.recursive_readonly, idmapped=can.idmapped)


async def _asked(node: Node, handler: str) -> executor.Features:
    answer = await node.call(executor.HANDLERS, Empty())
    return answer.handlers.get(handler) or executor.Features(
        missing=f"runtime handler {handler!r} is not known to the executor; restart it after a change of config.toml"
    )
