"""A container's own user namespace, and the new ones that belong to it.

They are made in a child, which waits until init has joined them by its entries of /proc.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from cribus.executor.child import steps
from cribus.executor.plan import build, idmap
from cribus.linux import namespaces

_OWNED = {"network": "net", "ipc": "ipc", "uts": "uts"}  # which init joins by path, under these names in /proc


@contextlib.contextmanager
def owned(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document with paths of what was made, as long as inside. Raises OSError where a mapping is refused."""
    wanted = build.namespaces_of(spec)
    if wanted.get("user", "x"):
        yield spec
        return
    kinds = {"user": "user", **{kind: name for kind, name in _OWNED.items() if wanted.get(kind) == ""}}
    end, held = os.pipe()
    pid, pidfd = namespaces.clone3(sum(build.KINDS[kind] for kind in kinds))
    if pid == 0:
        try:
            os.close(held)
            os.read(end, 1)
        finally:
            os._exit(0)
    os.close(end)
    try:
        for file, name in (("uid_map", "uidMappings"), ("gid_map", "gidMappings")):
            steps.write(f"/proc/{pid}/{file}", idmap.lines(spec["linux"].get(name) or []).encode())
        yield _joining(spec, {kind: f"/proc/{pid}/ns/{name}" for kind, name in kinds.items()})
    finally:
        os.close(held)
        os.waitpid(pid, 0)
        os.close(pidfd)


def _joining(spec: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    linux = spec["linux"]
    kinds = [{**one, "path": paths[one["type"]]} if one["type"] in paths else one for one in linux["namespaces"]]
    return {**spec, "linux": {**linux, "namespaces": kinds}}
