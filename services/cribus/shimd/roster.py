"""Which pods should have a shim: those with a `shim.json` in their run directory. The file is the order."""

import contextlib
import os

from cribus.linux import files

ENTRY = "shim.json"


class Roster:
    def __init__(self, run: str) -> None:
        self._pods = f"{run}/pods"

    def folder(self, pod: str) -> str:
        return f"{self._pods}/{pod}"

    def want(self, pod: str) -> None:
        """Idempotent. Raises OSError."""
        os.makedirs(self.folder(pod), mode=0o711, exist_ok=True)
        files.write_atomic(f"{self.folder(pod)}/{ENTRY}", b"{}")

    def drop(self, pod: str) -> None:
        """Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.folder(pod)}/{ENTRY}")

    def wanted(self) -> list[str]:
        try:
            names = os.listdir(self._pods)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if os.path.exists(f"{self._pods}/{name}/{ENTRY}"))
