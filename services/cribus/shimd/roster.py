"""Which pods should have a shim: those with a `shim.json` in their run directory. The file is the order, and has
the generation of the shim, which grows with each that is started and fences those before (shim/fence.py)."""

import contextlib
import os
import time

import msgspec

from cribus.api.shim import TAKEN, Take
from cribus.linux import files
from cribus.shim.fence import ENTRY, Order, ordered


class Roster:
    def __init__(self, run: str) -> None:
        self.run = run
        self._pods = f"{run}/pods"

    def folder(self, pod: str) -> str:
        return f"{self._pods}/{pod}"

    def want(self, pod: str) -> int:
        """The generation of the shim that this pod should have from now on: more than any before, also where somebody
        deleted the order of that one. Raises OSError."""
        os.makedirs(self.folder(pod), mode=0o711, exist_ok=True)
        generation = max((ordered(self.folder(pod)) or 0) + 1, int(time.monotonic() * 1000))
        files.write_atomic(f"{self.folder(pod)}/{ENTRY}", msgspec.json.encode(Order(generation)))
        return generation

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
