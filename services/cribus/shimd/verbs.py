"""What the shim supervisor answers (api/shimd.py)."""

from cribus.api import shimd
from cribus.api.verb import Empty
from cribus.bus.server import Table
from cribus.errors import InvalidArgument
from cribus.shimd.shims import Shims


def table(shims: Shims) -> Table:
    async def start(request: shimd.StartShim) -> shimd.ShimStarted:
        return shimd.ShimStarted(pid=await shims.start(_name(request.pod)))

    async def stop(request: shimd.StopShim) -> Empty:
        await shims.stop(_name(request.pod))
        return Empty()

    async def every(request: Empty) -> shimd.Shims:
        return shimd.Shims(pids=shims.pids(), waiting=shims.waiting())

    return {shimd.START_SHIM: start, shimd.STOP_SHIM: stop, shimd.LIST_SHIMS: every}


def _name(pod: str) -> str:
    """A pod's id, which becomes part of a path."""
    if not pod.isalnum():
        raise InvalidArgument(f"{pod!r} is no pod's id")
    return pod
