"""The node on which every step can be halted, for all the tests that kill there."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.chaos.world", "tests.chaos.lives", "tests.chaos.operations")

from tests.chaos.world import World, world  # noqa: E402 - what is rewritten is imported after that was said


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("chaos")) as one:
        yield one
