"""A node object without a fork server: for what is written down and read back."""

import os
from pathlib import Path

import pytest
from cribus.cgroups.layout import Tree
from cribus.executor.node import Node
from cribus.executor.plan.host import Host


class NoCgroups(Tree):
    """A tree in which there is nothing."""

    def pids(self, path: str) -> list[int]:
        return []

    def frozen(self, path: str) -> bool:
        return False

    def directories(self, path: str) -> list[str]:
        return []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "containers" / "c").mkdir(parents=True)
    os.mkfifo(tmp_path / "containers" / "c" / "start")
    return Node(str(tmp_path), None, NoCgroups("cgroupfs", "x"), Host())  # type: ignore[arg-type]
