import asyncio

import pytest
from cribus.api.executor import CreatePod, DeletePod
from cribus.errors import InvalidArgument
from cribus.executor import pods
from cribus.executor.node import Node


def test_unknown_namespace(node: Node) -> None:
    with pytest.raises(InvalidArgument, match="'nett'"):
        asyncio.run(pods.create(node, CreatePod(pod="p", namespaces=["nett"])))


def test_deleting_nothing(node: Node) -> None:
    asyncio.run(pods.delete(node, DeletePod(pod="p")))
