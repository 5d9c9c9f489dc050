"""Real cgroups of a name of our own, removed again whatever happens."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.cgroups.layout import Tree, hierarchies, open_tree
from cribus.cgroups.v2 import V2

NAME = f"crbunit{os.getpid()}"


def _v2_mount() -> str:
    return hierarchies(Path("/proc/self/mountinfo").read_text())[1]


def _swept(tree: Tree) -> Iterator[Tree]:
    if os.geteuid():
        pytest.skip("cgroups need root")
    try:
        yield tree
    finally:
        tree.kill(f"/{NAME}")
        tree.delete(f"/{NAME}")


@pytest.fixture
def tree() -> Iterator[Tree]:
    """The host's tree."""
    yield from _swept(open_tree(root=NAME))


@pytest.fixture
def unified() -> Iterator[Tree]:
    """The host's v2 tree, which on a hybrid host has few controllers but freezes, kills and filters devices."""
    mount = _v2_mount()
    if not mount:
        pytest.skip("no cgroup2 is mounted")
    yield from _swept(V2("cgroupfs", NAME, mount))


class Members:
    """Processes started inside a cgroup."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, tree: Tree, path: str, *argv: str) -> subprocess.Popen[bytes]:
        files = tree.join_self_paths(path)

        def join() -> None:
            for file in files:
                Path(file).write_text("0")

        self.started.append(subprocess.Popen(argv, preexec_fn=join, stdout=subprocess.PIPE))
        return self.started[-1]


@pytest.fixture
def members(request: pytest.FixtureRequest) -> Iterator[Members]:
    made = Members()
    yield made
    for name in ("tree", "unified"):
        if name in request.fixturenames:
            request.getfixturevalue(name).kill(f"/{NAME}")
    for one in made.started:
        one.wait(10)
        if one.stdout:
            one.stdout.close()
