"""The real bus."""

from tests.unit.bus.conftest import with_server

__all__ = ["with_server"]
