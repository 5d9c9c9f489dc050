"""A look that hangs is given up."""

import threading

import pytest
from cribus.errors import DeadlineExceeded
from cribus.manager import expendable

from tests.unit.manager.conftest import Run, failing


def test_answers_and_errors_come_back(run: Run) -> None:
    def broken() -> int:
        raise FileNotFoundError("gone")

    async def story() -> None:
        assert await expendable.run(lambda: 5, "five") == 5
        with pytest.raises(FileNotFoundError):
            await expendable.run(broken, "nothing")

    run(story())


def test_a_hung_one_is_left_behind(run: Run) -> None:
    release = threading.Event()

    async def story() -> None:
        error = await failing(expendable.run(lambda: release.wait(10), "a dead volume", 0.02))
        assert isinstance(error, DeadlineExceeded)
        assert "a dead volume" in error.message

    run(story())
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("look"):
            thread.join(5)
