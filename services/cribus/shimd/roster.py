"""Which pods should have a shim: those with a `shim.json` in their run directory. The file is the order."""

import contextlib
import os

import msgspec

from cribus.api.shim import TAKEN, Take
from cribus.linux import files

ENTRY = "shim.json"


class Roster:
    def __init__(self, run: str) -> None:
        self.run = run
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
        return sorted(name for name in files.listed(self._pods) if self.wants(name))

    def wants(self, pod: str) -> bool:
        return os.path.exists(f"{self.folder(pod)}/{ENTRY}")

    def taken(self) -> dict[str, list[str]]:
        """The containers that shims took, by pod: read once, where many shims start and each would read all."""
        found: dict[str, list[str]] = {}
        for container in files.listed(f"{self.run}/containers"):
            try:
                take = msgspec.json.decode(files.read(f"{self.run}/containers/{container}/{TAKEN}"), type=Take)
            except (FileNotFoundError, msgspec.DecodeError):  # not taken, or to be taken again
                continue
            found.setdefault(take.pod, []).append(take.container)
        return found
