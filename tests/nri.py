"""An NRI plugin for tests: connects, registers, and answers by a table of functions, in a thread of its own."""

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cribus.manager.nri import frames
from cribus.manager.nri import messages as m
from cribus.manager.nri.events import ALL, Event
from cribus.manager.nri.frames import Frame
from cribus.manager.nri.plugin import RUNTIME
from cribus.manager.nri.protobuf import Message, decode, encode

REQUESTS: dict[str, type[Message]] = {
    "Configure": m.ConfigureRequest,
    "Synchronize": m.SynchronizeRequest,
    "Shutdown": m.Empty,
    "StateChange": m.StateChangeEvent,
    "UpdateContainer": m.UpdateContainerRequest,
    "UpdatePodSandbox": m.UpdatePodSandboxRequest,
    "ValidateContainerAdjustment": m.ValidateRequest,
    **{
        event.method: m.PodRequest if "POD" in event.name else m.ContainerRequest
        for event in Event
        if event.name not in ("UPDATE_CONTAINER", "UPDATE_POD_SANDBOX", "VALIDATE_CONTAINER_ADJUSTMENT")
    },
}


class Refusal(Exception):
    """Raised by an answering function: the error that the runtime gets."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


Answer = Callable[[Any], Message | None]


class Plugin:
    """`answers`: method → what it answers; None is an empty answer. What was asked is in `asked`, in order."""

    def __init__(
        self, path: Path | socket.socket, name: str, answers: Mapping[str, Answer] | None = None, events: int = 0
    ) -> None:
        self.index, _, self.base = name.partition("-")
        self.answers = answers or {}
        self.events = events
        self.asked: list[tuple[str, Any]] = []
        self.configured: m.ConfigureRequest | None = None
        self.ready = threading.Event()  # it is synchronised
        self.over = threading.Event()  # the connection is closed
        self.pods: list[m.PodSandbox] = []
        self.containers: list[m.Container] = []
        self._replies: dict[int, m.Response] = {}
        self._changed = threading.Condition()
        self._stream = -1
        self.socket = path if isinstance(path, socket.socket) else _connected(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def register(self) -> "Plugin":
        """Until it has been told what exists. Raises ConnectionError when the runtime is gone."""
        request = m.RegisterPluginRequest(plugin_name=self.base, plugin_idx=self.index, nri_version="v0.12.0")
        reply = self.call("RegisterPlugin", request)
        assert reply.status is None or not reply.status.code, reply
        with self._changed:
            assert self._changed.wait_for(lambda: self.ready.is_set() or self.over.is_set(), 10), "not told what exists"
        if not self.ready.is_set():
            raise ConnectionError("the runtime is gone")
        return self

    def call(self, method: str, request: Message, seconds: float = 10) -> m.Response:
        """Ask the runtime. Raises ConnectionError when it is gone."""
        with self._changed:
            self._stream += 2
            stream = self._stream
        question = m.Request(service=RUNTIME, method=method, payload=encode(request))
        self.socket.sendall(frames.pack(frames.RUNTIME, Frame(stream, frames.REQUEST, encode(question))))
        with self._changed:
            answered = self._changed.wait_for(lambda: stream in self._replies or self.over.is_set(), seconds)
            assert answered, f"no answer to {method}"
            if stream not in self._replies:
                raise ConnectionError(f"gone before it answered {method}")
            return self._replies.pop(stream)

    def update(self, *updates: m.ContainerUpdate, evict: str = "") -> list[m.ContainerUpdate]:
        """Unsolicited. The updates that failed."""
        evictions = [m.ContainerEviction(container_id=evict, reason="room is needed")] if evict else []
        reply = self.call("UpdateContainers", m.UpdateContainersRequest(update=list(updates), evict=evictions))
        assert reply.status is None or not reply.status.code, reply
        return decode(m.UpdateContainersResponse, reply.payload).failed

    def heard(self, method: str, id: str, seconds: float = 10) -> Any:
        """The first question of that kind about that pod or container, waited for."""

        def found() -> Any:
            about = (request for name, request in self.asked if name == method)
            return next((one for one in about if id in _ids(one)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), f"no {method} of {id}"
            return found()

    def methods(self, id: str) -> list[str]:
        """What was asked about that pod or container, in order."""
        with self._changed:
            return [name for name, request in self.asked if id in _ids(request)]

    def close(self) -> None:
        """Be gone. Idempotent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.socket.close()

    def _run(self) -> None:
        inbox = frames.Inbox()
        while chunk := self._received():
            for connection, frame in inbox.feed(chunk):
                if connection == frames.PLUGIN:
                    self._answer(frame)
                else:
                    with self._changed:
                        self._replies[frame.stream] = decode(m.Response, frame.data)
                        self._changed.notify_all()
        self.over.set()
        with self._changed:
            self._changed.notify_all()

    def _received(self) -> bytes:
        try:
            return self.socket.recv(1 << 16)
        except OSError:
            return b""

    def _answer(self, frame: Frame) -> None:
        question = decode(m.Request, frame.data)
        request = decode(REQUESTS[question.method], question.payload)
        with self._changed:
            self.asked.append((question.method, request))
            self._changed.notify_all()
        try:
            answer = self._made(question.method, request)
            response = m.Response(payload=encode(answer or m.Empty()))
        except Refusal as error:
            response = m.Response(status=m.Status(code=error.code, message=str(error)))
        try:
            self.socket.sendall(frames.pack(frames.PLUGIN, Frame(frame.stream, frames.RESPONSE, encode(response))))
        except OSError:
            return
        if isinstance(request, m.SynchronizeRequest) and not request.more:
            with self._changed:
                self.ready.set()
                self._changed.notify_all()

    def _made(self, method: str, request: Message) -> Message | None:
        answer = self.answers.get(method)
        if answer is not None:
            return answer(request)
        if isinstance(request, m.ConfigureRequest):
            self.configured = request
            return m.ConfigureResponse(events=self.events or ALL & ~(1 << Event.VALIDATE_CONTAINER_ADJUSTMENT - 1))
        if isinstance(request, m.SynchronizeRequest):
            self.pods += [decode(m.PodSandbox, one) for one in request.pods]
            self.containers += [decode(m.Container, one) for one in request.containers]
            return m.SynchronizeResponse(more=request.more)
        return None


def _connected(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def program(folder: Path, name: str, script: str) -> Path:
    """A plugin that a runtime starts from a folder. The script's `plugin` is it, not registered yet."""
    root = Path(__file__).resolve().parents[1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"""#!{sys.executable}
import os, socket, sys
sys.path[:0] = [{str(root)!r}, {str(root / "services")!r}]
from cribus.manager.nri import messages as m
from tests.nri import Plugin
trunk = socket.socket(fileno=int(os.environ["NRI_PLUGIN_SOCKET"]))
plugin = Plugin(trunk, os.environ["NRI_PLUGIN_IDX"] + "-" + os.environ["NRI_PLUGIN_NAME"])
{script}
""")
    path.chmod(0o755)
    return path


def _ids(request: Any) -> list[str]:
    """The container that a question is about, or else its pod."""
    container, pod = getattr(request, "container", None), getattr(request, "pod", None)
    return [one.id for one in (container or pod,) if one is not None]
