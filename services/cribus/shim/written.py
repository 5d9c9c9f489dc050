"""Files of the run directory that say something: each may be missing, or be full of rubbish."""

from typing import TypeVar

import msgspec

from cribus.linux import files
from cribus.shim.note import note

T = TypeVar("T")


def read(path: str, kind: type[T]) -> T | None:
    """What the file says; None when it is not there, or cannot be understood."""
    try:
        return msgspec.json.decode(files.read(path), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        note("a file that cannot be read", path=path, cause=str(error))
        return None
