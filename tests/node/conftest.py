"""A registry for the tests of pulling, an image that every one of them builds on, and a node with CNI plugins of a
test's own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.images import starter

from tests import harness
from tests import registry as registries
from tests.faulty import Front, front
from tests.harness import Node
from tests.registry import Layer, Registry, layer


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.serve(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture
def faulty(registry: Registry) -> Iterator[Front]:
    with front(registry) as one:
        yield one


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """The lowest layer of an image whose containers run."""
    program = Path("/bin/busybox")
    applets = subprocess.run([str(program), "--list"], capture_output=True, text=True, check=True).stdout.split()
    return layer(tmp_path_factory.mktemp("busybox"), starter.layer(program.read_bytes(), applets))


@pytest.fixture(scope="module")
def own_plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that looks for CNI plugins in its base's `bin` first, and has an empty `cni` there."""
    base = tmp_path_factory.mktemp("plugins")
    (base / "bin").mkdir()
    (base / "cni").mkdir()

    def plugins(one: Node) -> None:
        text = one.config.read_text()
        one.config.write_text(text.replace("[network]\n", f'[network]\nbin_dirs = ["{base}/bin"]\n'))

    with harness.node(base, before=plugins) as one:
        yield one
