"""What a plugin can be asked or told, by the numbers of NRI's event mask: event n is bit n-1."""

from enum import IntEnum


class Event(IntEnum):
    RUN_POD_SANDBOX = 1
    STOP_POD_SANDBOX = 2
    REMOVE_POD_SANDBOX = 3
    CREATE_CONTAINER = 4
    POST_CREATE_CONTAINER = 5
    START_CONTAINER = 6
    POST_START_CONTAINER = 7
    UPDATE_CONTAINER = 8
    POST_UPDATE_CONTAINER = 9
    STOP_CONTAINER = 10
    REMOVE_CONTAINER = 11
    UPDATE_POD_SANDBOX = 12
    POST_UPDATE_POD_SANDBOX = 13
    VALIDATE_CONTAINER_ADJUSTMENT = 14

    @property
    def method(self) -> str:
        """The call of a plugin that handles it: RunPodSandbox."""
        return self.name.title().replace("_", "")


ALL = (1 << len(Event)) - 1


def is_set(mask: int, event: Event) -> bool:
    return bool(mask >> (event - 1) & 1)
