"""A plugin: its registration, what it subscribed, and asking it. One that is gone, late or talks rubbish is
thrown out and asked nothing more."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from cribus.config import Nri
from cribus.errors import FailedPrecondition, InvalidArgument, Unimplemented
from cribus.manager.nri import messages as m
from cribus.manager.nri.events import ALL, Event, is_set
from cribus.manager.nri.link import UNIMPLEMENTED, Link, Lost, Refused, Streams
from cribus.manager.nri.protobuf import Message, decode, encode
from cribus.steps import Step

A = TypeVar("A", bound=Message)
VERSION = "v0.12.3"  # of github.com/containerd/nri, whose messages these are
_PACKAGE = "nri.pkg.api.v1alpha1"
SERVICE, RUNTIME = f"{_PACKAGE}.Plugin", f"{_PACKAGE}.Runtime"
_INDEX = re.compile(r"[0-9]{2}")
_NAME = re.compile(r"[A-Za-z0-9._+-]+")
# Plugins from before NRI 0.10 answer these with UNIMPLEMENTED and want StateChange instead.
_ONCE_STATE_CHANGE = {
    Event.RUN_POD_SANDBOX,
    Event.POST_UPDATE_POD_SANDBOX,
    Event.STOP_POD_SANDBOX,
    Event.REMOVE_POD_SANDBOX,
    Event.POST_CREATE_CONTAINER,
    Event.START_CONTAINER,
    Event.POST_START_CONTAINER,
    Event.POST_UPDATE_CONTAINER,
    Event.REMOVE_CONTAINER,
}
_ASKED = Step("manager.nri.asked")
_logger = logging.getLogger(__name__)

Update = Callable[[m.UpdateContainersRequest], Awaitable[m.UpdateContainersResponse]]


class Launched(NamedTuple):
    """What is known of a plugin that the manager started. `ready`: it is asked, or never will be."""

    number: str
    base: str
    config: str
    ready: asyncio.Event


def _about(request: Message) -> str:
    """The id of the container or pod that a question is about."""
    about = getattr(request, "container", None) or getattr(request, "pod", None)
    return about.id if about else ""


class Plugin:
    """`update` is what happens when it asks for updates of containers by itself."""

    def __init__(self, streams: Streams, update: Update, launched: Launched | None = None) -> None:
        self.link = Link(streams, SERVICE, self._serve)
        self._launched = launched
        self.index, self.base = (launched.number, launched.base) if launched else ("", "")
        self.events = 0
        self._update = update
        self._old: set[Event] = set()
        self._registered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        """As it registered, its pid before that."""
        return f"{self.index}-{self.base}" if self.base else f"of process {self.link.pid}"

    async def run(self) -> None:
        """Read until it is gone."""
        await self.link.run()
        if not self._registered.done():
            self._registered.set_exception(Lost(self.link.over))

    async def register(self, settings: Nri, version: str) -> None:
        """Wait for its registration, and configure it. Raises Lost or Refused."""
        try:
            async with asyncio.timeout(settings.registration_timeout):
                await self._registered
        except TimeoutError as error:
            raise Lost(f"it did not register within {settings.registration_timeout:g} s") from error
        await self._configure(settings, version)

    async def _configure(self, settings: Nri, version: str) -> None:
        request = m.ConfigureRequest(
            config=self._launched.config if self._launched else "",
            runtime_name="cribus",
            runtime_version=version,
            registration_timeout=int(settings.registration_timeout * 1000),
            request_timeout=int(settings.request_timeout * 1000),
            nri_version=VERSION,
        )
        answer = await self.link.call("Configure", request, m.ConfigureResponse, settings.request_timeout)
        if answer.events & ~ALL:
            raise Lost(f"it subscribes events that do not exist: {answer.events & ~ALL:#x}")
        self.events = answer.events or ALL

    def wants(self, event: Event) -> bool:
        return not self.link.over and is_set(self.events, event)

    async def ask(self, event: Event, request: Message, answer: type[A], seconds: float) -> A | None:
        """Its answer; None when it has not subscribed the event, or was thrown out over it.

        Raises FailedPrecondition when it answers with an error.
        """
        if not self.wants(event):
            return None
        try:
            with _ASKED.of(_about(request)):
                return await self._call(event, request, answer, seconds)
        except Lost as error:
            self.throw_out(str(error))
            return None
        except Refused as error:
            raise FailedPrecondition(f"NRI plugin {self.name} refuses {event.method}: {error.message}") from error

    async def _call(self, event: Event, request: Message, answer: type[A], seconds: float) -> A:
        if event not in self._old:
            try:
                return await self.link.call(event.method, request, answer, seconds)
            except Refused as error:
                if error.code != UNIMPLEMENTED or event not in _ONCE_STATE_CHANGE:
                    raise
            self._old.add(event)
            _logger.warning("an old NRI plugin: it wants StateChange", extra={"plugin": self.name, "event": event.name})
        pod, container = getattr(request, "pod", None), getattr(request, "container", None)
        changed = m.StateChangeEvent(event=int(event), pod=pod, container=container)
        await self.link.call("StateChange", changed, m.Empty, seconds)
        return answer()

    def throw_out(self, why: str) -> None:
        """Ask it nothing more."""
        _logger.error("NRI plugin thrown out", extra={"plugin": self.name, "cause": why})
        self.link.close(why)

    async def _serve(self, service: str, method: str, payload: bytes) -> bytes:
        if (service, method) == (RUNTIME, "RegisterPlugin"):
            self._register(decode(m.RegisterPluginRequest, payload))
            return encode(m.Empty())
        if (service, method) == (RUNTIME, "UpdateContainers"):
            if not self._registered.done():
                raise FailedPrecondition("register first")
            return encode(await self._update(decode(m.UpdateContainersRequest, payload)))
        raise Unimplemented(f"there is no {service}/{method}")

    def _register(self, request: m.RegisterPluginRequest) -> None:
        if self._registered.done():
            raise FailedPrecondition(f"this connection is registered as {self.name} already")
        if self._launched:  # its file has the name
            return self._registered.set_result(None)
        if not _NAME.fullmatch(request.plugin_name) or not _INDEX.fullmatch(request.plugin_idx):
            raise InvalidArgument(
                f"plugin name {request.plugin_name!r}, index {request.plugin_idx!r}: a name has letters, digits and "
                "._+-, an index two digits"
            )
        self.base, self.index = request.plugin_name, request.plugin_idx
        return self._registered.set_result(None)
