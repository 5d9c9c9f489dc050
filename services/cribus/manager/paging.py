"""Lists of pods and containers, whole or in pages: who fits is told apart from what is said of them, so
that a page reads no more than its own part."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from cribus.api.paging import Page, Paged
from cribus.api.verb import Message
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
R = TypeVar("R", bound=Sandbox | Container)
Fitting = Callable[[Node, Q], Iterable[R]]  # the records that a request asks for, in any order
Telling = Callable[[Node, Sequence[R]], Awaitable[A]]  # the list's answer about these


def whole(fitting: Fitting[Q, R], telling: Telling[R, A]) -> Callable[[Node, Q], Awaitable[A]]:
    """The plain list, newest first."""

    async def listed(node: Node, request: Q) -> A:
        return await telling(node, sorted(fitting(node, request), key=_place, reverse=True))

    return listed


def paged(fitting: Fitting[Q, R], telling: Telling[R, A]) -> Callable[[Node, Page[Q]], Awaitable[Paged[A]]]:
    """The same in pages. A place in the list is that of a record, whether it is still there or not."""

    async def page(node: Node, request: Page[Q]) -> Paged[A]:
        behind = (one for one in fitting(node, request.asked) if not request.after or _place(one) < request.after)
        found = sorted(behind, key=_place, reverse=True)
        part = found[: max(1, request.most)]
        return Paged(part=await telling(node, part), next=_place(part[-1]) if len(part) < len(found) else "")

    return page


def _place(record: Sandbox | Container) -> str:
    return f"{record.created_at:020d}.{record.id}"
