"""How a child says what went wrong: one line on its error pipe, which the bus half turns into an error.

warning TEXT
error CODE TEXT      CODE is a class of cribus.errors by its code
ready
"""

import os

_SHORT = (11, 12, 23, 24, 28, 122)  # EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT


class Failed(Exception):
    """What could not be done; `code` as in cribus.errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def code(error: OSError) -> str:
    """Which status a refusal of the kernel is: the host is short of something, or the fault is ours."""
    return "RESOURCE_EXHAUSTED" if error.errno in _SHORT else "INTERNAL"


def reason(error: OSError) -> str:
    """Why the kernel refused, with the call or path that it was about."""
    where = error.filename if isinstance(error.filename, str) else ""
    text = error.strerror or "failed"
    return f"{where}: {text}" if where and not where.startswith("/proc/self/fd/") else text


def line(word: str, text: str) -> bytes:
    """One line for the pipe."""
    return f"{word} {' '.join(text.split())}\n".encode(errors="surrogateescape")


def tell(fd: int, word: str, text: str) -> None:
    """Write one line; a reader that is gone cannot be helped."""
    try:
        os.write(fd, line(word, text))
    except BrokenPipeError:
        return


def read(text: str) -> tuple[list[str], tuple[str, str] | None, bool]:
    """What a child wrote: (warnings, (code, message) of its error if any, whether it is ready)."""
    warnings: list[str] = []
    error: tuple[str, str] | None = None
    ready = False
    for one in text.splitlines():
        word, _, rest = one.partition(" ")
        if word == "warning":
            warnings.append(rest)
        elif word == "error":
            code, _, message = rest.partition(" ")
            error = (code, message)
        elif word == "ready":
            ready = True
    return warnings, error, ready
