"""RunPodSandbox: record first, then shim and namespaces side by side, then network and files."""

import asyncio
import logging
import secrets
import time

import msgspec

from cribus import log
from cribus.api import executor, shimd
from cribus.api.cri.sandbox import (
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    RunPodSandboxRequest,
    RunPodSandboxResponse,
)
from cribus.api.cri.security import IDMapping
from cribus.errors import InvalidArgument
from cribus.manager import handlers, lifecycle, names, podfiles, podnet, sandbox_stop, spec_namespaces
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Sandbox, State
from cribus.manager.wanted import pod_modes
from cribus.steps import Step

_logger = logging.getLogger(__name__)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_SHIM = Step("manager.run.shim")
_FILES = Step("manager.run.files")
_NAMESPACES = Step("manager.run.namespaces")
_NETWORK = Step("manager.run.network")
_HOSTS = Step("manager.run.hosts")
_COPY = Step("manager.run.copy")


async def run(node: Node, request: RunPodSandboxRequest) -> RunPodSandboxResponse:
    """Make a pod and answer its id once it is ready.

    Raises InvalidArgument for a wrong configuration, AlreadyExists for a name that is taken,
    FailedPrecondition for what the runtime handler cannot do.
    """
    config = request.config or PodSandboxConfig()
    name = _checked(node, config, request.runtime_handler)
    await handlers.check(node, request)
    id = await node.names.join(name, request, lambda: _make(node, name, request))
    return RunPodSandboxResponse(pod_sandbox_id=id)


async def _make(node: Node, name: str, request: RunPodSandboxRequest) -> str:
    config = request.config or PodSandboxConfig()
    owner = node.records.sandboxes.get(node.records.owner(name))
    if owner is not None and owner.state is State.CREATING:
        await undo(node, owner, "its making was cut short")  # nobody works on it: we have the name
    elif owner is not None:
        alike = (owner.config, owner.handler) == (config, request.runtime_handler)
        unused = owner.state is State.READY and not node.records.in_pod(owner.id)
        if names.repeated(owner, alike=alike, unused=unused):
            return owner.id
    now = time.time_ns()
    record = Sandbox(
        id=secrets.token_hex(32),
        name=name,
        config=config,
        handler=request.runtime_handler,
        created_at=now,
        changed_at=now,
        request=log.current("request"),
    )
    with log.ids(pod=record.id):
        await lifecycle.begin(node, record)
        try:
            record = await _set_up(node, record)
            await node.nri.ask(Event.RUN_POD_SANDBOX, record)
            record = await _ready(node, record)
        except Exception as error:
            await undo(node, record, str(error))
            raise
    return record.id


async def _set_up(node: Node, record: Sandbox) -> Sandbox:
    """Shim beside namespaces and network. The record with what came of it."""
    async with asyncio.TaskGroup() as together:
        together.create_task(_shim(node, record))
        pod = together.create_task(_pod(node, record))
    return pod.result()


async def _shim(node: Node, record: Sandbox) -> None:
    with _SHIM.of(record.id):
        await node.call(shimd.START_SHIM, shimd.StartShim(pod=record.id))


async def _pod(node: Node, record: Sandbox) -> Sandbox:
    folder, hostname = node.pod_dir(record.id), hostname_of(node, record.config)
    with _FILES.of(record.id):
        podfiles.write(folder, hostname, record.config.dns_config)
    with _NAMESPACES.of(record.id):
        made = await node.call(executor.CREATE_POD, _wanted(record, hostname))
    record = msgspec.structs.replace(record, namespaces=made.namespaces, cgroup=made.cgroup, pid=made.pid)
    with _NETWORK.of(record.id):
        ips = await podnet.attach(node, record)
    with _HOSTS.of(record.id):
        podfiles.write_hosts(folder, hostname, ips)
    return msgspec.structs.replace(record, ips=ips)


def write_files(node: Node, record: Sandbox) -> None:
    """Again, those of a pod that is ready: somebody deleted them."""
    folder, hostname = node.pod_dir(record.id), hostname_of(node, record.config)
    podfiles.write(folder, hostname, record.config.dns_config)
    podfiles.write_hosts(folder, hostname, record.ips)


async def _ready(node: Node, record: Sandbox) -> Sandbox:
    # Should its record be lost, reconcile makes it anew from this.
    copy = msgspec.structs.replace(record, state=State.READY)
    with _COPY.of(record.id):
        node.kept.put(record.id, msgspec.json.encode(copy))
    return await lifecycle.move(
        node,
        record,
        State.READY,
        namespaces=record.namespaces,
        cgroup=record.cgroup,
        pid=record.pid,
        ips=record.ips,
    )


def _wanted(record: Sandbox, hostname: str) -> executor.CreatePod:
    linux = record.config.linux or LinuxPodSandboxConfig()
    modes = pod_modes(record)
    users = spec_namespaces.own_users(modes)
    return executor.CreatePod(
        pod=record.id,
        namespaces=spec_namespaces.for_pod(modes),
        hostname=hostname,
        sysctls=linux.sysctls,
        cgroup_parent=linux.cgroup_parent,
        uids=_id_maps(users.uids) if users else [],
        gids=_id_maps(users.gids) if users else [],
    )


def _id_maps(mappings: list[IDMapping]) -> list[executor.IdMap]:
    return [executor.IdMap(container=one.container_id, host=one.host_id, size=one.length) for one in mappings]


def hostname_of(node: Node, config: PodSandboxConfig) -> str:
    return config.hostname or node.host.name


def _checked(node: Node, config: PodSandboxConfig, handler: str) -> str:
    """The pod's name. Raises InvalidArgument for what no pod can be."""
    if config.metadata is None or not config.metadata.name:
        raise InvalidArgument("the pod's config has no metadata.name; name, namespace, uid and attempt identify a pod")
    if handler and handler not in node.settings.handlers:
        known = ", ".join(sorted(node.settings.handlers)) or "none"
        raise InvalidArgument(f"there is no runtime handler {handler!r}; configured are: {known}")
    if len(config.hostname) > 64:
        raise InvalidArgument(f"hostname {config.hostname!r} has more than 64 characters")
    linux = config.linux or LinuxPodSandboxConfig()
    own = spec_namespaces.for_pod(pod_modes(Sandbox(id="", config=config)))
    for sysctl in linux.sysctls:
        _check_sysctl(sysctl.replace("/", "."), own)
    podfiles.resolv(config.dns_config)
    return names.of_sandbox(config.metadata)


def _check_sysctl(name: str, own: list[str]) -> None:
    """Only settings of a namespace that the pod has of its own: others would change the host."""
    kind = "net" if name.startswith("net.") else "ipc" if name.startswith(_IPC_SYSCTLS) else ""
    if not kind and name not in ("kernel.hostname", "kernel.domainname"):
        raise InvalidArgument(f"sysctl {name} is not of a namespace: it would change the whole host")
    if (kind or "uts") not in own:
        raise InvalidArgument(f"sysctl {name}: the pod uses the host's {kind or 'uts'} namespace")


async def undo(node: Node, record: Sandbox, reason: str) -> None:
    """A pod that did not come to be leaves nothing, and its name is free.

    When even that fails, the pod stays as one that is not ready, without its name, for a removal
    or the next reconcile to finish.
    """
    try:
        await sandbox_stop.teardown(node, record)
        await node.nri.undone(record)
        await lifecycle.gone(node, record)
    except Exception:
        _logger.exception("a failed pod could not be torn down yet", extra={"pod": record.id})
        await lifecycle.move(node, record, State.NOTREADY, name="", reason=reason)
