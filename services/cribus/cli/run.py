"""Run a command in a new pod, print its output, and end with its exit code.

The image is pulled when it is not there. The pod is removed at the end, unless --no-rm or --detach
is given.
"""

import argparse
import asyncio
import os
import shutil
import signal
import uuid

import msgspec

from cribus import config
from cribus.api import images, manager, shim
from cribus.api.cri.container import (
    ContainerConfig,
    ContainerMetadata,
    CreateContainerRequest,
    KeyValue,
    LinuxContainerConfig,
    StartContainerRequest,
)
from cribus.api.cri.image import ImageSpec, ImageStatusRequest
from cribus.api.cri.sandbox import (
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    RunPodSandboxRequest,
)
from cribus.api.cri.security import (
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    NamespaceOption,
)
from cribus.api.cri.values import NamespaceMode, Protocol
from cribus.bus.service import Bus
from cribus.cli import rm
from cribus.cli.logs import directory, follow, has_stopped, status
from cribus.cli.output import crilog
from cribus.cli.pull import pull
from cribus.cli.session import ask
from cribus.cli.terminal import Session
from cribus.config import Settings
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable

LOG = "main.log"
FAILED = 125  # exit code of what went wrong before or around the command, not in it


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="name of the pod (default: made up)")
    parser.add_argument("-d", "--detach", action="store_true", help="print the container's id and leave it running")
    parser.add_argument("--rm", action=argparse.BooleanOptionalAction, default=True, help="remove the pod at the end")
    parser.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    parser.add_argument("-it", action="store_true", dest="both", help=argparse.SUPPRESS)
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-p", "--publish", action="append", default=[], metavar="HOST:CONTAINER[/udp]")
    parser.add_argument("--host-network", action="store_true", help="no network of the pod's own")
    parser.add_argument("--privileged", action="store_true")
    parser.add_argument("--runtime", default="", metavar="HANDLER")
    parser.add_argument("-q", "--quiet", action="store_true", help="pull without progress")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("cmd", nargs=argparse.REMAINDER, metavar="CMD")


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    given.stdin, given.tty = given.stdin or given.both, given.tty or given.both
    pod = pod_config(given, settings)

    async def conversation(bus: Bus) -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await _image(bus, given)
        return await _in_pod(bus, given, pod)

    try:
        return ask(conversation)
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _image(bus: Bus, given: argparse.Namespace) -> None:
    known = await bus.call(images.STATUS, ImageStatusRequest(image=ImageSpec(image=given.image)))
    if known.image is None:
        await pull(bus, given.image, quiet=given.quiet)


async def _in_pod(bus: Bus, given: argparse.Namespace, pod: PodSandboxConfig) -> int:
    os.makedirs(pod.log_directory, mode=0o700, exist_ok=True)
    wanted = RunPodSandboxRequest(config=pod, runtime_handler=given.runtime)
    id = (await bus.call(manager.RUN_SANDBOX, wanted, timeout=60.0)).pod_sandbox_id
    keep = False
    try:
        create = CreateContainerRequest(pod_sandbox_id=id, config=container_config(given), sandbox_config=pod)
        container = (await bus.call(manager.CREATE_CONTAINER, create, timeout=60.0)).container_id
        if given.detach:
            await _start(bus, container)
            print(container)
            keep = True
            return 0
        if given.tty:
            code = await _on_terminal(bus, container, stdin=given.stdin)
        else:
            code = await _logged(bus, container, pod, stdin=given.stdin)
        keep = not given.rm
        return code
    finally:
        if not keep:
            await asyncio.shield(_remove(bus, id, pod))


async def _remove(bus: Bus, id: str, pod: PodSandboxConfig) -> None:
    await rm.remove(bus, id)
    shutil.rmtree(pod.log_directory, ignore_errors=True)


async def _start(bus: Bus, container: str) -> None:
    await bus.call(manager.START_CONTAINER, StartContainerRequest(container_id=container), timeout=60.0)


async def _logged(bus: Bus, container: str, pod: PodSandboxConfig, *, stdin: bool) -> int:
    """Start it, pass input on, and print its log (which begins with its first byte) until it has exited."""
    since = await bus.events.last()
    with crilog.Log(f"{pod.log_directory}/{LOG}") as log:
        start = asyncio.create_task(_start(bus, container))
        wanted = shim.OpenAttach(container=container, stream="", stdin=True, stdout=False, stderr=False)
        session = asyncio.create_task(_attached(bus, wanted, start)) if stdin else None
        try:
            await start
            await follow(bus, container, log, since)
        finally:
            if session:
                session.cancel()
                await asyncio.wait({session})
    return (await status(bus, container)).exit_code


async def _on_terminal(bus: Bus, container: str, *, stdin: bool) -> int:
    """Start it with this terminal as its own: the exit code."""
    since = await bus.events.last()
    wanted = shim.OpenAttach(container=container, stream="", stdin=stdin, stderr=False, whole=True)
    start = asyncio.create_task(_start(bus, container))
    try:
        await _attached(bus, wanted, start)
    finally:
        await start
    await has_stopped(bus, container, since)
    return (await status(bus, container)).exit_code


async def _attached(bus: Bus, wanted: shim.OpenAttach, start: asyncio.Task[None]) -> None:
    """Be the container's client until it exits.

    The shim has a container from within its start on, so both are asked side by side. Who wants all of the
    output gets it from the first byte, also of a container that has exited by then.
    """

    async def opened(stream: str) -> None:
        while True:
            begun = start.done()
            try:
                await bus.call(shim.ATTACH, msgspec.structs.replace(wanted, stream=stream), id=wanted.container)
            except Unavailable:
                if begun:
                    raise
            else:
                return

    try:
        await Session(bus, stdin=wanted.stdin, tty=wanted.stdout, output=None if wanted.stdout else []).run(opened)
    except (FailedPrecondition, NotFound):
        await start


def pod_config(given: argparse.Namespace, settings: Settings) -> PodSandboxConfig:
    """The pod that the command line describes. Raises InvalidArgument."""
    name = given.name or f"run-{uuid.uuid4().hex[:8]}"
    network = NamespaceMode.NODE if given.host_network else NamespaceMode.POD
    security = LinuxSandboxSecurityContext(
        namespace_options=NamespaceOption(network=network, pid=NamespaceMode.CONTAINER), privileged=given.privileged
    )
    metadata = PodSandboxMetadata(name=name, uid=uuid.uuid4().hex, namespace="default")
    return PodSandboxConfig(
        metadata=metadata,
        hostname="" if given.host_network else name[:63],
        log_directory=directory(settings, metadata),
        port_mappings=[port(text) for text in given.publish],
        labels={rm.MADE: "true"},
        linux=LinuxPodSandboxConfig(security_context=security),
    )


def container_config(given: argparse.Namespace) -> ContainerConfig:
    """The container that the command line describes. Raises InvalidArgument."""
    network = NamespaceMode.NODE if given.host_network else NamespaceMode.POD
    security = LinuxContainerSecurityContext(
        namespace_options=NamespaceOption(network=network, pid=NamespaceMode.CONTAINER), privileged=given.privileged
    )
    return ContainerConfig(
        metadata=ContainerMetadata(name="main"),
        image=ImageSpec(image=given.image),
        args=given.cmd[1:] if given.cmd[:1] == ["--"] else given.cmd,  # the image keeps its entrypoint
        envs=[variable(text) for text in given.env],
        log_path=LOG,
        stdin=given.stdin,
        stdin_once=given.stdin,
        tty=given.tty,
        linux=LinuxContainerConfig(security_context=security),
    )


def variable(text: str) -> KeyValue:
    name, given, value = text.partition("=")
    if not given or not name:
        raise InvalidArgument(f"--env {text}: write NAME=VALUE")
    return KeyValue(key=name, value=value.encode())


def port(text: str) -> PortMapping:
    """`8080:80`, `127.0.0.1:8080:80/udp`. Raises InvalidArgument."""
    ports, _, protocol = text.partition("/")
    *ip, host, container = [*ports.rsplit(":", 2)] if ":" in ports else [ports, ports]
    try:
        return PortMapping(
            protocol=Protocol[(protocol or "tcp").upper()],
            host_ip=ip[0] if ip else "",
            host_port=int(host),
            container_port=int(container),
        )
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"--publish {text}: write [IP:]HOST:CONTAINER[/udp], for example 8080:80") from error
