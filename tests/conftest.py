"""A running node for whoever asks: tests/node, tests/chaos and tests/conformance share one."""

import os
from collections.abc import Iterator

import pytest

from tests import harness
from tests.cri import Cri

# Some tests fork in this process, others use gRPC in it: its fork handlers break the forked child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seeds of what failed, at the very end: whatever is cut off from a long log, they are not."""
    for kind in ("failed", "error"):
        for report in terminalreporter.stats.get(kind, []):
            for line in [one for one in report.capstdout.splitlines() if "SEED" in one.upper()]:
                terminalreporter.write_line(f"{report.nodeid}: {line}")


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Node]:
    with harness.node(tmp_path_factory.mktemp("node")) as one:
        yield one


@pytest.fixture
def cri(clean: harness.Node) -> Iterator[Cri]:
    """gRPC to the same node. What a test leaves is removed, so that the test's own failure is seen."""
    one = Cri(clean)
    yield one
    for pod in one.call("ListPodSandbox").items:
        one.call("RemovePodSandbox", pod_sandbox_id=pod.id)
    one.close()


@pytest.fixture
def clean(node: harness.Node) -> Iterator[harness.Node]:
    """The node, which must be empty again when the test is over."""
    node.try_crictl("rmp", "-f", "-a")  # what a failed test before this one has left
    yield node
    node.assert_clean()
