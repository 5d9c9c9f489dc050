"""What is done inside another network namespace. Source: setns(2), which moves one thread."""

from cribus.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def within(where: int, function: "Callable[[], T]") -> "T":
    """Run the function in the network namespace that the descriptor is of, or its process (pidfd), in a thread made
    for it: should the way back fail, no other work is left in a pod's namespace.

    Raises what the function raises, and OSError: ProcessLookupError for a process that has ended.
    """
    import threading  # which what is forked does without

    result: list[T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            namespaces.setns(where, namespaces.CLONE_NEWNET)
            result.append(function())
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=enter, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
