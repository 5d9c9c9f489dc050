import asyncio

import pytest
from cribus.api.executor import Exec
from cribus.errors import FailedPrecondition, NotFound, Unavailable
from cribus.executor import execs, state
from cribus.executor.node import Node

ASK = Exec(container="c", pod="p", exec_id="e", args=["true"])


def test_only_in_a_running_container(node: Node) -> None:
    with pytest.raises(NotFound):
        asyncio.run(execs.run(node, ASK))
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    with pytest.raises(FailedPrecondition, match="is stopped"):
        asyncio.run(execs.run(node, ASK))


def test_a_shim_that_is_away(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    monkeypatch.setattr(state, "alive", lambda _: True)
    with pytest.raises(Unavailable, match="shim of pod p"):
        asyncio.run(execs.run(node, ASK))
