"""What was attached how: one file a pod, so that DEL knows the configuration and result of its ADD.

Written before the first step (intent) and again with the result: a crash in between leaves
something to undo, never something unknown.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from cribus.linux import files
from cribus.network.config import NetworkList, parse


@dataclass(slots=True)
class Entry:
    """One attachment. `result` is None until every plugin has added; `inode` is the namespace's."""

    pod: str
    netns: str
    inode: int
    interface: str
    host_link: str
    args: dict[str, str]
    capabilities: dict[str, Any]
    network: dict[str, Any]
    result: dict[str, Any] | None = None
    partial: dict[str, Any] | None = None  # the result so far, while plugins are adding

    def network_list(self) -> NetworkList:
        return parse(self.network, f"cache of pod {self.pod}")


class Cache:
    """The folder of entries."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = folder

    def write(self, entry: Entry) -> None:
        files.write_atomic(self._path(entry.pod), json.dumps(asdict(entry)).encode(), 0o600)

    def read(self, pod: str) -> Entry | None:
        """The pod's entry; None without one, or when a crash of the machine left it unreadable."""
        try:
            return Entry(**json.loads(files.read(self._path(pod))))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return None

    def remove(self, pod: str) -> None:
        try:
            os.unlink(self._path(pod))
        except FileNotFoundError:
            return

    def pods(self) -> list[str]:
        """Every pod with an entry; half-written ones are not entries."""
        return [name.removesuffix(".json") for name in os.listdir(self._folder) if name.endswith(".json")]

    def _path(self, pod: str) -> str:
        return f"{self._folder}/{pod}.json"
