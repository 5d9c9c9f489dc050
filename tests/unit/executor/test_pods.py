import asyncio
from typing import Any

import pytest
from cribus.api.executor import CreatePod, DeletePod
from cribus.errors import Aborted, InvalidArgument
from cribus.executor import ending, pods
from cribus.executor.node import Node


def test_unknown_namespace(node: Node) -> None:
    with pytest.raises(InvalidArgument, match="'nett'"):
        asyncio.run(pods.create(node, CreatePod(pod="p", namespaces=["nett"])))


def test_deleting_nothing(node: Node) -> None:
    asyncio.run(pods.delete(node, DeletePod(pod="p")))


def test_a_child_that_is_killed_has_a_successor(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def fork(*_: Any) -> int:
        tries.append(len(tries))
        if len(tries) < 3:
            raise Aborted("it was killed")
        return 0

    async def empty(*_: Any) -> None:
        pass

    monkeypatch.setattr(pods, "_fork", fork)
    monkeypatch.setattr(ending, "empty_cgroup", empty)
    asyncio.run(pods._pinned(node, CreatePod(pod="p", namespaces=["net"]), {"cgroup": "c"}))
    assert tries == [0, 1, 2]


def test_deleting_what_could_not_be_made(node: Node) -> None:
    asyncio.run(pods.delete(node, DeletePod(pod="p", cgroup_parent="../..")))
