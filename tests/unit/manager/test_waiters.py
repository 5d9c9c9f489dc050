"""Who waits, and what came too early."""

import asyncio

from cribus.api.events import Event
from cribus.manager.waiters import Waiters

from tests.unit.manager.conftest import Run


def test_all_who_wait_are_told(run: Run) -> None:
    async def story() -> None:
        waiters = Waiters()
        with waiters.waiting("a") as one, waiters.waiting("a") as two, waiters.waiting("b") as other:
            waiters.tell("a")
            await asyncio.gather(one.wait(), two.wait())
            assert not other.is_set()
        waiters.tell("a")
        assert not waiters._waiting

    run(story())


def test_an_early_exit_is_kept_while_it_is_held() -> None:
    waiters = Waiters()
    first, event, last = (Event(kind="exited", id="a", at=1, pid=pid) for pid in (7, 8, 9))
    with waiters.holding("a"):
        assert waiters.held("a")
        assert not waiters.held("b")
        for one in (first, event, last):
            waiters.keep(one)
        assert waiters.kept("a", 8) is event
        assert not waiters.held("a")
    assert waiters.kept("a", 8) is None
