"""What runs in a fork closes nothing: its exec or its end does."""

import pytest


@pytest.fixture
def kernel_closes() -> bool:
    return True
