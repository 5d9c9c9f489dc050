"""Files that one process writes for its successors, by rename, so that only the current generation can.

What is written comes from, and what is removed goes to, a folder of this generation's own. A process that
begins takes the folders of all generations before it away, in one rename each, before it reads anything: from
then on every rename of theirs fails in the kernel, also one that was about to happen when they were stopped.

Belongs here: nothing that knows what a file says.
"""

import contextlib
import os
import shutil

from cribus import pulse


class Staging:
    """For files in or below `base`, all on one file system."""

    def __init__(self, base: str) -> None:
        program, generation = pulse.mark()
        self._base = base
        self._prefix = f".{program or 'files'}."
        self.folder = f"{base}/{self._prefix}{generation}"

    def claim(self) -> None:
        """From here on nobody before us writes here. Raises OSError."""
        os.makedirs(self._base, 0o700, exist_ok=True)
        for name in os.listdir(self._base):
            path = f"{self._base}/{name}"
            if name.startswith(self._prefix) and path != self.folder:
                gone = f"{self.folder}.gone"
                with contextlib.suppress(FileNotFoundError):  # another one of us, just now
                    os.rename(path, gone)
                shutil.rmtree(gone, ignore_errors=True)
        os.makedirs(self.folder, 0o700, exist_ok=True)

    def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Replace a file: a reader sees the old one or the new one, never a part. Raises OSError."""
        try:
            self._write(path, data, mode)
        except FileNotFoundError:
            self._again()
            self._write(path, data, mode)

    def _write(self, path: str, data: bytes, mode: int) -> None:
        temporary = f"{self.folder}/{self._name(path)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.rename(temporary, path)

    def _name(self, path: str) -> str:
        """Of a file in the folder that is on its way to this path, or from there."""
        folder, name = os.path.split(path)
        return f"{os.path.basename(folder)}.{name}"

    def _again(self) -> None:
        """Somebody emptied the place; or we have a successor, and end."""
        pulse.checked()
        os.makedirs(self.folder, 0o700, exist_ok=True)

    def remove(self, path: str) -> None:
        """Away with a file. Idempotent. Raises OSError."""
        away = f"{self.folder}/{self._name(path)}.away"
        try:
            os.rename(path, away)
        except FileNotFoundError:
            pulse.checked()
            return
        os.unlink(away)
