"""A container of the command line: its directory, what is written down in it, and what is true of it.

<root>/<id>/state.json   by rename: pid and start time, bundle, cgroup
<root>/<id>/config.json  the document as it was when the container was created
<root>/<id>/start        fifo: init waits there for a byte
<root>/<id>/sync         fifo: init says there what it could not do
"""

import json
import os
import shutil
import time

from cribus.errors import AlreadyExists, InvalidArgument, NotFound
from cribus.linux import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cribus.cgroups.tree import Tree

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class Box:
    """One container below `root`. The directory need not be there."""

    def __init__(self, root: str, id: str) -> None:
        """Raises InvalidArgument for an id that is none."""
        if not id or id in (".", "..") or not set(id) <= _LETTERS:
            raise InvalidArgument(f"invalid container id {id!r}: letters, digits, _ + - and . are allowed")
        self.id = id
        self.path = f"{root}/{id}"

    def make(self, bundle: str, systemd: bool) -> "dict[str, Any]":
        """The directory with its document and fifos, the intent written down. Raises AlreadyExists, NotFound,
        InvalidArgument."""
        try:
            document = files.read(f"{bundle}/config.json")
            spec: dict[str, Any] = json.loads(document)
        except FileNotFoundError as error:
            raise NotFound(f"{bundle}/config.json does not exist; `spec` writes one") from error
        except ValueError as error:
            raise InvalidArgument(f"{bundle}/config.json is no JSON: {error}") from error
        os.makedirs(os.path.dirname(self.path), 0o711, exist_ok=True)
        try:
            os.mkdir(self.path, 0o711)
        except FileExistsError as error:
            raise AlreadyExists(f"container with given ID already exists: {self.id}") from error
        files.write_atomic(f"{self.path}/config.json", document, 0o600)
        for name in ("start", "sync"):
            os.mkfifo(f"{self.path}/{name}", 0o600)
        cgroup = _tree(systemd).spec_path((spec.get("linux") or {}).get("cgroupsPath") or "", self.id)
        known = {"id": self.id, "bundle": bundle, "cgroup": cgroup, "systemd": systemd, "pid": 0, "started": 0}
        self.save({**known, "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        return spec

    def save(self, known: "dict[str, Any]") -> None:
        files.write_atomic(f"{self.path}/state.json", json.dumps(known).encode(), 0o600)

    def known(self) -> "dict[str, Any]":
        """What is written down. Raises NotFound."""
        return self._document("state.json")

    def spec(self) -> "dict[str, Any]":
        """The document. Raises NotFound."""
        return self._document("config.json")

    def _document(self, name: str) -> "dict[str, Any]":
        try:
            found: dict[str, Any] = json.loads(files.read(f"{self.path}/{name}"))
        except FileNotFoundError as error:
            raise NotFound(f"container does not exist: {self.id}") from error
        return found

    def tree(self) -> "Tree":
        return _tree(bool(self.known()["systemd"]))

    def status(self) -> str:
        """creating, created, running, paused or stopped: the kernel's word. Raises NotFound."""
        known = self.known()
        if not known["pid"]:
            return "creating"
        if not process.is_running(known["pid"], known["started"]):
            return "stopped"
        try:
            os.close(os.open(f"{self.path}/start", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:  # nobody waits there
            return "paused" if self.tree().frozen(known["cgroup"]) else "running"
        return "created"

    def state(self) -> "dict[str, Any]":
        """The state of runtime-spec's runtime.md, and what runc tells beside it. Raises NotFound."""
        known, status, spec = self.known(), self.status(), self.spec()
        path = (spec.get("root") or {}).get("path", "rootfs")
        return {
            "ociVersion": spec.get("ociVersion", "1.0.0"),
            "id": self.id,
            "pid": 0 if status == "stopped" else known["pid"],
            "status": status,
            "bundle": known["bundle"],
            "rootfs": os.path.join(known["bundle"], path),
            "created": known["created"],
            "annotations": spec.get("annotations") or {},
            "owner": "",
        }

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _tree(systemd: bool) -> "Tree":
    from cribus.cgroups.layout import open_tree  # not for those who only look

    return open_tree("systemd" if systemd else "cgroupfs", "cribus-oci")


def every(root: str) -> list[Box]:
    """All below `root`, by id."""
    return [Box(root, name) for name in files.listed(root) if os.path.exists(f"{root}/{name}/state.json")]
