"""A client of GetContainerEvents, as kubelet is one, that goes on where it was when it loses its gateway."""

import threading
from typing import Any

import grpc
from cribus.gateway.cri import api_pb2 as pb
from cribus.gateway.cri import api_pb2_grpc as stubs

_AFTER, _TAKEN = "cribus-events-after", "cribus-events-taken"
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_PAUSE = 0.02  # seconds between two tries


class News:
    """What it heard, as (id, kind), from when it was made; then `close`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = stubs.RuntimeServiceStub(channel)
        self._heard: list[tuple[str, str]] = []
        self._changed = threading.Condition()
        self._failure: grpc.RpcError | None = None
        self._after = ""
        self._over = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._follow, name="news")
        self._thread.start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._after or self._failure, 30), "no events within 30 s"

    def _follow(self) -> None:
        while not self._over.wait(_PAUSE if self._call else 0):
            metadata = [(_AFTER, self._after), (_TAKEN, str(len(self._heard)))] if self._after else []
            self._call = call = self._stub.GetContainerEvents(pb.GetEventsRequest(), metadata=metadata)
            try:
                self._take(call)
            except grpc.RpcError as error:
                if error.code() not in _AGAIN:
                    with self._changed:
                        self._failure = error
                        self._changed.notify_all()
                    return

    def _take(self, call: Any) -> None:
        began = dict(call.initial_metadata()).get(_AFTER, "")
        with self._changed:
            self._after = self._after or began
            self._changed.notify_all()
        for one in call:
            with self._changed:
                self._heard.append((one.container_id, pb.ContainerEventType.Name(one.container_event_type)))
                self._changed.notify_all()

    def of(self, id: str, count: int, seconds: float) -> list[str]:
        """The kinds of events of a pod or container, once there are so many, or so long has passed."""

        def kinds() -> list[str]:
            return [kind for one, kind in self._heard if one == id]

        with self._changed:
            self._changed.wait_for(lambda: len(kinds()) >= count or self._failure, seconds)
            assert self._failure is None, self._failure
            return kinds()

    def ids(self) -> set[str]:
        """Of whom there was news."""
        with self._changed:
            return {one for one, _ in self._heard}

    def close(self) -> None:
        self._over.set()
        while self._thread.is_alive():
            self._call.cancel()
            self._thread.join(0.1)
