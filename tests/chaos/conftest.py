"""The node on which every step can be halted, for all the tests that kill there."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite(
    *(f"tests.chaos.{one}" for one in ("cases", "leaks", "lives", "news", "operations", "recovery", "scene", "world"))
)

from tests.chaos import recovery  # noqa: E402 - what is rewritten is imported after that was said
from tests.chaos.world import World, world  # noqa: E402


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("chaos")) as one:
        yield one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in recovery.figures():
        terminalreporter.write_line(line)
