import asyncio
import os
import sys
import types
from typing import Any

import pytest
from cribus.errors import Aborted, NotFound
from cribus.executor import children

from tests.unit.executor.forks import Forks


def main(request: dict[str, Any], fds: list[int]) -> int:
    os.write(fds[0], request["says"].encode())
    return 0


sys.modules["children_test"] = types.ModuleType("children_test")
sys.modules["children_test"].main = main  # type: ignore[attr-defined]


def said(text: str) -> str:
    async def story() -> str:
        child = await children.begin(lambda r, fds: Forks().run("children_test:main", r, fds), {"says": text})
        return await child.ready("it was")

    return asyncio.run(story())


def test_what_a_child_says() -> None:
    assert said("ready 17\n") == "17"
    assert said("ready \n") == ""


def test_what_a_child_cannot_do() -> None:
    with pytest.raises(NotFound, match="no such thing"):
        said("error NOT_FOUND no such thing\n")
    with pytest.raises(Aborted, match="it was not made"):
        said("")
