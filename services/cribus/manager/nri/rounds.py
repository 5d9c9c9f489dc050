"""One question to all plugins, in the order of their indexes. At most one round at a time: plugins are
written for that. What they want of other containers is done after the round."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple

from cribus.api.cri.security import LinuxContainerResources
from cribus.config import Nri
from cribus.errors import CribusError, FailedPrecondition
from cribus.manager.nri import adjust, describe, resources
from cribus.manager.nri import messages as m
from cribus.manager.nri.collect import Creation, Updates, resources_of
from cribus.manager.nri.events import Event
from cribus.manager.nri.existing import Existing
from cribus.manager.nri.link import Lost, Refused
from cribus.manager.nri.owners import Owners
from cribus.manager.nri.plugin import Plugin
from cribus.manager.nri.protobuf import Message
from cribus.manager.nri.synchronize import parts
from cribus.manager.records import Container, Sandbox
from cribus.oci.runtime_spec import Spec
from cribus.steps import Step

_JOINED = Step("manager.nri.joined")
_LIMITED = Step("manager.nri.limited")
_EVICTED = Step("manager.nri.evicted")
_logger = logging.getLogger(__name__)

# (container, limits in CRI's words, those for which CRI has none) → done. Raises CribusError.
Limit = Callable[[str, LinuxContainerResources, resources.Extra], Awaitable[None]]
Evict = Callable[[str, str], Awaitable[None]]  # (container, reason). Raises CribusError.


class Runtime(NamedTuple):
    """Its version, and how it changes containers at a plugin's wish."""

    version: str
    limit: Limit
    evict: Evict


class Adjusted(NamedTuple):
    """A container that is being made: its spec, and what is still to be put into it: limits in CRI's words,
    those for which CRI has none, and CDI devices by their names."""

    spec: Spec
    limits: LinuxContainerResources
    extra: resources.Extra
    cdi_devices: list[str]


class Rounds:
    """The plugins, and the one who has the turn."""

    def __init__(self, settings: Nri, existing: Existing, runtime: Runtime) -> None:
        self.settings = settings
        self.runtime, self._existing = runtime, existing
        self._plugins: list[Plugin] = []
        self._joining = 0
        self._turn = asyncio.Lock()
        self._over: set[str] = set()  # pods and containers whose end was told
        self._later: set[asyncio.Task[object]] = set()

    @property
    def busy(self) -> bool:
        """Whether anybody is to be asked. A plugin that is being synchronised will be."""
        self._plugins = [one for one in self._plugins if not one.link.over]
        return bool(self._plugins or self._joining)

    async def join(self, plugin: Plugin) -> None:
        """Tell a registered plugin what there is; from that moment on it is asked.

        Nothing happens in between: questions wait for the end of it. Raises Lost.
        """
        self._joining += 1
        try:
            async with self._turn:
                with _JOINED.of():
                    updates = await self._synchronize(plugin)
                self._plugins = sorted([*self._plugins, plugin], key=lambda one: one.index)
        finally:
            self._joining -= 1
        _logger.info("NRI plugin connected", extra={"plugin": plugin.name, "events": f"{plugin.events:#x}"})
        await self._apply(updates)

    async def _synchronize(self, plugin: Plugin) -> list[m.ContainerUpdate]:
        # With the longer of the two deadlines: it is a part of a plugin's start, and what there is may be much.
        seconds = self.settings.registration_timeout
        updates: list[m.ContainerUpdate] = []
        try:
            async with asyncio.timeout(seconds), contextlib.aclosing(parts(self._existing.moment())) as told:
                async for part in told:
                    answer = await plugin.link.call("Synchronize", part, m.SynchronizeResponse, seconds)
                    if part.more and not answer.more:
                        raise Lost("it does not take what exists in parts; a newer plugin would")
                    updates += answer.update
        except TimeoutError as error:
            raise Lost(f"it did not synchronise within {seconds:g} s") from error
        except Refused as error:
            raise Lost(f"it refuses to synchronise: {error.message}") from error
        return updates

    async def shut_down(self) -> None:
        """The runtime stops: tell everybody, wait for nobody longer than a request may take."""
        seconds = self.settings.request_timeout
        calls = (one.link.call("Shutdown", m.Empty(), m.Empty, seconds) for one in self._plugins)
        await asyncio.gather(*calls, *self._later, return_exceptions=True)

    # Questions about pods and containers

    async def ask(self, event: Event, record: Sandbox | Container) -> None:
        """Raises FailedPrecondition when a plugin refuses."""
        async with self._turn:
            if event is Event.RUN_POD_SANDBOX:
                self._existing.note(record, {})
            await self._ask(event, self._about(record))

    async def tell(self, event: Event, record: Sandbox | Container) -> None:
        """The same for what cannot be refused any more: everybody is told, a refusal is logged."""
        async with self._turn:
            if event is Event.STOP_POD_SANDBOX and not self._first_end(record.id):
                return
            await self._tell(event, self._about(record))
            if event is Event.REMOVE_POD_SANDBOX:
                self._over.discard(record.id)

    def _about(self, record: Sandbox | Container) -> m.PodRequest | m.ContainerRequest:
        if isinstance(record, Sandbox):
            return m.PodRequest(pod=describe.pod(record))
        told = describe.container(record, self._existing.spec(record.id))
        return m.ContainerRequest(pod=self._pod(record), container=told)

    def _pod(self, record: Container) -> m.PodSandbox:
        pod = self._existing.records.sandboxes.get(record.pod)
        return describe.pod(pod) if pod else m.PodSandbox(id=record.pod)

    def _first_end(self, id: str) -> bool:
        first = id not in self._over
        self._over.add(id)
        return first

    async def _ask(self, event: Event, request: Message) -> None:
        for plugin in self._plugins:
            await plugin.ask(event, request, m.Empty, self.settings.request_timeout)

    async def _tell(self, event: Event, request: Message) -> None:
        for plugin in self._plugins:
            with _content(plugin):
                await plugin.ask(event, request, m.Empty, self.settings.request_timeout)

    # A container is made

    async def create(self, pod: Sandbox, record: Container, spec: Spec) -> Adjusted:
        """The spec as the plugins together want it. Raises FailedPrecondition: it must not be made."""
        async with self._turn:
            self._existing.note(record, spec)
            creation = await self._created(pod, record, spec)
        await self._apply(creation.updates.all(), creation.updates.evictions)
        wanted = creation.adjust
        limits, extra = resources.to_cri(wanted.linux.resources if wanted.linux else None)
        return Adjusted(adjust.adjusted(spec, wanted), limits, extra, [one.name for one in wanted.cdi_devices])

    async def _created(self, pod: Sandbox, record: Container, spec: Spec) -> Creation:
        told = describe.pod(pod)
        creation = Creation(describe.container(record, spec))
        asked = list(self._plugins)
        for plugin in asked:
            request = m.ContainerRequest(pod=told, container=creation.container)
            answer = await plugin.ask(
                Event.CREATE_CONTAINER, request, m.CreateContainerResponse, self.settings.request_timeout
            )
            if answer is not None:
                creation.take(plugin.name, answer)
        before = m.ContainerRequest(pod=told, container=describe.container(record, spec))
        await self._validate(creation, asked, before)
        return creation

    async def _validate(self, creation: Creation, asked: list[Plugin], before: m.ContainerRequest) -> None:
        """Plugins that look at what all of them did may forbid it. One that does not answer forbids it too."""
        request = m.ValidateRequest(
            pod=before.pod,
            container=before.container,
            adjust=creation.adjust,
            update=creation.updates.all(),
            owners=creation.owners.told(),
            plugins=[m.PluginInstance(name=one.base, index=one.index) for one in asked],
        )
        event, seconds = Event.VALIDATE_CONTAINER_ADJUSTMENT, self.settings.request_timeout
        for plugin in [one for one in self._plugins if one.wants(event)]:
            answer = await plugin.ask(event, request, m.ValidateResponse, seconds)
            if answer is None:
                raise FailedPrecondition(f"NRI plugin {plugin.name} was to validate the container and failed; repeat")
            if answer.reject:
                raise FailedPrecondition(f"NRI plugin {plugin.name} rejects the container: {answer.reason}")

    # Limits change

    async def update(
        self, record: Container, asked: LinuxContainerResources
    ) -> tuple[LinuxContainerResources, resources.Extra]:
        """New limits as the plugins want them. Raises FailedPrecondition when one refuses."""
        wanted = resources.of_cri(asked) or m.Resources()
        updates = Updates(Owners())
        updates.expect(record.id, wanted)
        async with self._turn:
            about = self._about(record)
            assert isinstance(about, m.ContainerRequest)
            for plugin in self._plugins:
                request = m.UpdateContainerRequest(pod=about.pod, container=about.container, resources=wanted)
                await self._change(plugin, (Event.UPDATE_CONTAINER, request), updates)
                wanted = updates.now(record.id)
        updates.leave(record.id)
        await self._apply(updates.all(), updates.evictions)
        limits, extra = resources.to_cri(wanted)
        return limits, extra

    async def update_pod(
        self, record: Sandbox, overhead: LinuxContainerResources | None, asked: LinuxContainerResources | None
    ) -> None:
        """Raises FailedPrecondition when a plugin refuses."""
        told = m.UpdatePodSandboxRequest(
            pod=describe.pod(record), overhead=resources.of_cri(overhead), resources=resources.of_cri(asked)
        )
        async with self._turn:
            await self._ask(Event.UPDATE_POD_SANDBOX, told)

    async def updated(self, request: m.UpdateContainersRequest) -> m.UpdateContainersResponse:
        """A plugin asks by itself."""
        return m.UpdateContainersResponse(failed=await self._apply(request.update, request.evict))

    # A container ends

    async def stopped(self, record: Container) -> None:
        """It is over. What plugins want of others then is done beside."""
        async with self._turn:
            await self._stop(record)

    async def removed(self, record: Container) -> None:
        """It is gone; one that never ran ends here."""
        async with self._turn:
            if not record.finished_at:
                await self._stop(record)
            await self._tell(Event.REMOVE_CONTAINER, self._about(record))
            self._over.discard(record.id)

    async def undone(self, record: Sandbox | Container) -> None:
        """What was asked about did not come to be."""
        if isinstance(record, Container):
            return await self.removed(record)
        await self.tell(Event.STOP_POD_SANDBOX, record)
        return await self.tell(Event.REMOVE_POD_SANDBOX, record)

    async def _stop(self, record: Container) -> None:
        if not self._first_end(record.id):
            return
        request, updates = self._about(record), Updates(Owners())
        for plugin in self._plugins:
            with _content(plugin):
                await self._change(plugin, (Event.STOP_CONTAINER, request), updates)
        if updates.all():
            task: asyncio.Task[object] = asyncio.ensure_future(self._apply(updates.all()))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def _change(self, plugin: Plugin, question: tuple[Event, Message], updates: Updates) -> None:
        event, request = question
        answer = await plugin.ask(event, request, m.ChangeResponse, self.settings.request_timeout)
        if answer is not None:
            updates.take(plugin.name, answer.update, answer.evict)

    # Changes of other containers

    async def _apply(
        self, updates: Iterable[m.ContainerUpdate], evictions: Iterable[m.ContainerEviction] = ()
    ) -> list[m.ContainerUpdate]:
        """Do them, each for itself. Answers the updates that failed and should not have."""
        for eviction in evictions:
            with _logged("evicted", eviction.container_id), _EVICTED.of(eviction.container_id):
                await self.runtime.evict(eviction.container_id, eviction.reason)
        failed = []
        for update in updates:
            done = False
            with _logged("updated", update.container_id), _LIMITED.of(update.container_id):
                limits, extra = resources.to_cri(resources_of(update))
                await self.runtime.limit(update.container_id, limits, extra)
                done = True
            if not done and not update.ignore_failure:
                failed.append(update)
        return failed


@contextlib.contextmanager
def _content(plugin: Plugin) -> Iterator[None]:
    """A refusal of what cannot be refused is logged."""
    try:
        yield
    except FailedPrecondition as error:
        _logger.warning("an NRI plugin is not content", extra={"plugin": plugin.name, "cause": error.message})


@contextlib.contextmanager
def _logged(what: str, container: str) -> Iterator[None]:
    try:
        yield
    except CribusError as error:
        _logger.warning(f"not {what} as an NRI plugin wanted", extra={"container": container, "cause": error.message})
