"""What the executor asks of a runtime. Keeper, streams, exit and the last teardown are its own affair."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cribus.executor.node import Held, Node
from cribus.executor.state import Record


class Made(NamedTuple):
    """A container up to the start barrier. `held` belongs to the receiver."""

    pid: int
    keeper: int
    held: Held
    warnings: list[str]


Known = Callable[[int, int], None]  # pid and keeper of an init that still is set up


class Runtime(Protocol):
    """Makes and moves containers. Each call may be repeated; a failed `create` is followed by a teardown."""

    async def create(self, node: Node, record: Record, spec: dict[str, Any], known: Known) -> Made: ...
    async def start(self, node: Node, record: Record) -> None: ...
    async def signal(self, node: Node, record: Record, number: int) -> None: ...  # to init; an ended one is no error
    async def pause(self, node: Node, record: Record) -> None: ...
    async def resume(self, node: Node, record: Record) -> None: ...
    async def update(self, node: Node, record: Record, resources: dict[str, Any]) -> None: ...
    async def clear(self, node: Node, record: Record) -> None: ...  # what only it knows of; the processes are dead
