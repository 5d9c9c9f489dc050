"""The node's news as CRI's container events (GetContainerEvents, the kubelet's evented PLEG)."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable

from cribus.api import events as e
from cribus.api import manager
from cribus.api.cri.container import PodSandboxStatusResponse
from cribus.api.cri.runtime import ContainerEventResponse
from cribus.api.cri.sandbox import PodSandboxStatusRequest
from cribus.api.cri.values import ContainerEventType as Kind
from cribus.api.verb import Call
from cribus.errors import NotFound

Follow = Callable[[], AsyncGenerator[e.Event, None]]
_logger = logging.getLogger(__name__)

# A sandbox shows as a container of its own id, as the kubelet knows it from other runtimes.
_KINDS: dict[str, list[Kind]] = {
    e.SANDBOX_READY: [Kind.CONTAINER_CREATED_EVENT, Kind.CONTAINER_STARTED_EVENT],
    e.SANDBOX_STOPPED: [Kind.CONTAINER_STOPPED_EVENT],
    e.SANDBOX_REMOVED: [Kind.CONTAINER_DELETED_EVENT],
    e.CONTAINER_CREATED: [Kind.CONTAINER_CREATED_EVENT],
    e.CONTAINER_STARTED: [Kind.CONTAINER_STARTED_EVENT],
    e.CONTAINER_STOPPED: [Kind.CONTAINER_STOPPED_EVENT],
    e.CONTAINER_REMOVED: [Kind.CONTAINER_DELETED_EVENT],
}


async def container_events(call: Call, follow: Follow) -> AsyncGenerator[ContainerEventResponse, None]:
    """Events from now on, each with the pod's state at the time when it is told."""
    async with contextlib.aclosing(follow()) as news:
        async for event in news:
            kinds = _KINDS.get(event.kind)
            if kinds is None:
                continue
            state = await _state(call, event.pod or event.id)
            for kind in kinds:
                yield ContainerEventResponse(
                    container_id=event.id,
                    container_event_type=kind,
                    created_at=event.at,
                    pod_sandbox_status=state.status,
                    containers_statuses=state.containers_statuses,
                )


async def _state(call: Call, pod: str) -> PodSandboxStatusResponse:
    """The pod's state; empty when the pod is gone, which after its removal is no error."""
    try:
        return await call(manager.SANDBOX_STATUS, PodSandboxStatusRequest(pod_sandbox_id=pod))
    except NotFound:
        _logger.debug("event of a pod that is gone", extra={"pod": pod})
        return PodSandboxStatusResponse()
