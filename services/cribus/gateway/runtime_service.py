"""CRI's RuntimeService: translate and forward. Nothing is decided here.

Most methods are a verb of the manager. What changes no record goes straight to the pod's shim;
what needs a stream answers an address of the streaming server.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from cribus.api import manager, shim
from cribus.api.cri import container as c
from cribus.api.cri import runtime as r
from cribus.api.cri import sandbox as s
from cribus.api.cri import stats as u
from cribus.api.paging import Page, Paged
from cribus.api.verb import A, Call, Prompt, Q, Verb
from cribus.bus.connection import RETRY, pause
from cribus.errors import FailedPrecondition, InvalidArgument, Unavailable
from cribus.gateway import events
from cribus.gateway.method import PATIENCE, Answers, Caller, Methods, Streaming, Unary, Wire, forward, pages

UNLIMITED = 24 * 3600.0  # seconds: a command that may run as long as it likes
_SHIM_PATIENCE = 1.0  # seconds for which a running container's shim is waited for: it is being started
_OUTPUT = (16 << 20) - 64  # bytes of both outputs of a command; what surrounds them takes less than the 64
_EXEC_MARGIN = 15.0  # seconds that starting a command may take beyond its own time


class Doors(Protocol):
    """The streaming server as this front sees it: each opens a door and answers its URL."""

    def exec(self, request: shim.OpenExec) -> str: ...
    def attach(self, request: shim.OpenAttach, tty: bool) -> str: ...
    def port_forward(self, namespace: str, ports: list[int]) -> str: ...


_FORWARDED: dict[str, Verb[Any, Any]] = {
    "RunPodSandbox": manager.RUN_SANDBOX,
    "StopPodSandbox": manager.STOP_SANDBOX,
    "RemovePodSandbox": manager.REMOVE_SANDBOX,
    "PodSandboxStatus": manager.SANDBOX_STATUS,
    "ListPodSandbox": manager.LIST_SANDBOXES,
    "CreateContainer": manager.CREATE_CONTAINER,
    "StartContainer": manager.START_CONTAINER,
    "RemoveContainer": manager.REMOVE_CONTAINER,
    "ListContainers": manager.LIST_CONTAINERS,
    "ContainerStatus": manager.CONTAINER_STATUS,
    "UpdateContainerResources": manager.UPDATE_CONTAINER,
    "ContainerStats": manager.CONTAINER_STATS,
    "ListContainerStats": manager.LIST_CONTAINER_STATS,
    "PodSandboxStats": manager.SANDBOX_STATS,
    "ListPodSandboxStats": manager.LIST_SANDBOX_STATS,
    "UpdateRuntimeConfig": manager.UPDATE_CONFIG,
    "Status": manager.STATUS,
    "ListMetricDescriptors": manager.LIST_METRIC_DESCRIPTORS,
    "ListPodSandboxMetrics": manager.LIST_METRICS,
    "RuntimeConfig": manager.RUNTIME_CONFIG,
    "UpdatePodSandboxResources": manager.UPDATE_SANDBOX,
    "CheckpointPod": manager.CHECKPOINT_SANDBOX,
    "RestorePod": manager.RESTORE_SANDBOX,
}
_PAGED: dict[str, tuple[Verb[Page[Any], Paged[Any]], Wire]] = {
    "StreamPodSandboxes": (
        manager.PAGE_SANDBOXES,
        Wire(s.ListPodSandboxRequest, s.StreamPodSandboxesRequest, s.StreamPodSandboxesResponse),
    ),
    "StreamContainers": (
        manager.PAGE_CONTAINERS,
        Wire(c.ListContainersRequest, c.StreamContainersRequest, c.StreamContainersResponse),
    ),
    "StreamContainerStats": (
        manager.PAGE_CONTAINER_STATS,
        Wire(u.ListContainerStatsRequest, u.StreamContainerStatsRequest, u.StreamContainerStatsResponse),
    ),
    "StreamPodSandboxStats": (
        manager.PAGE_SANDBOX_STATS,
        Wire(u.ListPodSandboxStatsRequest, u.StreamPodSandboxStatsRequest, u.StreamPodSandboxStatsResponse),
    ),
    "StreamPodSandboxMetrics": (
        manager.PAGE_METRICS,
        Wire(r.ListPodSandboxMetricsRequest, r.StreamPodSandboxMetricsRequest, r.StreamPodSandboxMetricsResponse),
    ),
}
# A pod with all its containers' metrics is some 20 KiB.
_MOST = {"StreamPodSandboxMetrics": 20, "StreamPodSandboxStats": 50}


class Runtime:
    """The methods that are more than one forwarded verb."""

    def __init__(self, call: Call, news: events.News, doors: Doors, version: str) -> None:
        self._call = call
        self._news = news
        self._doors = doors
        self._version = version

    def methods(self) -> Methods:
        """All methods by their name."""
        known: Methods = {name: forward(self._call, verb) for name, verb in _FORWARDED.items()}
        known.update((name, pages(self._call, *rest, _MOST.get(name, 100))) for name, rest in _PAGED.items())
        known["Version"] = Unary(r.VersionRequest, r.VersionResponse, self.version)
        # A stop may wait out the container's whole grace period, and then some.
        known["StopContainer"] = forward(
            self._call, manager.STOP_CONTAINER, lambda request: PATIENCE + max(0, request.timeout)
        )
        known["CheckpointContainer"] = forward(self._call, manager.CHECKPOINT_CONTAINER, _checkpoint_patience)
        known["ReopenContainerLog"] = Unary(
            c.ReopenContainerLogRequest, c.ReopenContainerLogResponse, self.reopen_container_log
        )
        known["ExecSync"] = Unary(c.ExecSyncRequest, c.ExecSyncResponse, self.exec_sync, _exec_patience)
        known["Exec"] = Unary(c.ExecRequest, c.ExecResponse, self.exec)
        known["Attach"] = Unary(c.AttachRequest, c.AttachResponse, self.attach)
        known["PortForward"] = Unary(s.PortForwardRequest, s.PortForwardResponse, self.port_forward)
        known["GetContainerEvents"] = Streaming(r.GetEventsRequest, r.ContainerEventResponse, self.get_container_events)
        return known

    async def version(self, request: r.VersionRequest, seconds: float) -> r.VersionResponse:
        """Known without asking anyone: it must answer while the rest of the node is down."""
        return r.VersionResponse(
            version="0.1.0", runtime_name="cribus", runtime_version=self._version, runtime_api_version="v1"
        )

    async def exec_sync(self, request: c.ExecSyncRequest, seconds: float) -> c.ExecSyncResponse:
        if not request.cmd:
            raise InvalidArgument("cmd is empty: name the program to run")

        def wanted(container: str) -> shim.ExecSync:
            return shim.ExecSync(container=container, cmd=request.cmd, timeout=request.timeout)

        done = await self._at_shim(shim.EXEC_SYNC, wanted, request.container_id, seconds)
        out, err = _fitting(done.stdout, done.stderr)
        return c.ExecSyncResponse(stdout=out, stderr=err, exit_code=done.exit_code)

    async def reopen_container_log(
        self, request: c.ReopenContainerLogRequest, seconds: float
    ) -> c.ReopenContainerLogResponse:
        def wanted(container: str) -> shim.Named:
            return shim.Named(container=container)

        await self._at_shim(shim.REOPEN_LOG, wanted, request.container_id, seconds)
        return c.ReopenContainerLogResponse()

    async def exec(self, request: c.ExecRequest, seconds: float) -> c.ExecResponse:
        if not request.cmd:
            raise InvalidArgument("cmd is empty: name the program to run")
        _check_streams(request)
        found = await self._running(request.container_id, seconds)
        opened = shim.OpenExec(
            container=found.container,
            stream="",
            cmd=request.cmd,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return c.ExecResponse(url=self._doors.exec(opened))

    async def attach(self, request: c.AttachRequest, seconds: float) -> c.AttachResponse:
        _check_streams(request)
        found = await self._running(request.container_id, seconds)
        opened = shim.OpenAttach(
            container=found.container,
            stream="",
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr and not found.tty,
        )
        return c.AttachResponse(url=self._doors.attach(opened, found.tty))

    async def port_forward(self, request: s.PortForwardRequest, seconds: float) -> s.PortForwardResponse:
        if any(not 0 < port < 65536 for port in request.port):
            raise InvalidArgument(f"ports {request.port}: a port is a number from 1 to 65535")
        wanted = manager.Locate(id=request.pod_sandbox_id, only_pods=True)
        found = await self._call(manager.LOCATE, wanted, timeout=seconds)
        if not found.running:
            raise FailedPrecondition(f"pod {found.pod} is not ready: nobody in it can be reached")
        return s.PortForwardResponse(url=self._doors.port_forward(found.netns, request.port))

    async def get_container_events(self, request: r.GetEventsRequest, caller: Caller) -> Answers:
        return await events.container_events(self._call, self._news, caller.metadata)

    async def _running(self, container: str, seconds: float) -> manager.Located:
        """Where the container is. Raises NotFound, or FailedPrecondition when it does not run."""
        found = await self._call(manager.LOCATE, manager.Locate(id=container), timeout=seconds)
        if not found.container:
            raise InvalidArgument(f"{container} is a pod; name one of its containers")
        if not found.running:
            raise FailedPrecondition(f"container {found.container} is not running")
        return found

    async def _at_shim(self, verb: Prompt[Q, A], wanted: Callable[[str], Q], container: str, seconds: float) -> A:
        """Ask the shim that has the container. When none is there the manager says why, or that one will be."""
        end = time.monotonic() + min(seconds, _SHIM_PATIENCE)
        while True:
            try:
                return await self._call(verb, wanted(container), id=container, timeout=seconds)
            except Unavailable:
                found = (await self._running(container, PATIENCE)).container
                if found == container and time.monotonic() > end:
                    raise
            container = found
            await pause(RETRY)


def _fitting(out: bytes, err: bytes) -> tuple[bytes, bytes]:
    """What of both fits into one answer, as clients take no larger one. The rest is dropped, and that is no error."""
    half = _OUTPUT // 2
    kept = out[: max(half, _OUTPUT - len(err))]
    return kept, err[: _OUTPUT - len(kept)]


def _exec_patience(request: c.ExecSyncRequest) -> float:
    return request.timeout + _EXEC_MARGIN if request.timeout > 0 else UNLIMITED


def _checkpoint_patience(request: c.CheckpointContainerRequest) -> float:
    """The manager keeps to the timeout that was asked for; an answer may take a little longer."""
    return request.timeout + _EXEC_MARGIN if request.timeout > 0 else UNLIMITED


def _check_streams(request: c.ExecRequest | c.AttachRequest) -> None:
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("none of stdin, stdout and stderr is asked for: set at least one")
    if request.tty and request.stderr:
        raise InvalidArgument("a terminal has no stderr of its own: ask for tty without stderr")
