"""A container's own user namespace, and the new ones that belong to it.

They are made in a child, which waits until init has joined them by its entries of /proc.
"""

import contextlib
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
    with namespaces.kept(sum(build.KINDS[kind] for kind in kinds)) as (pid, _):
        for file, name in (("uid_map", "uidMappings"), ("gid_map", "gidMappings")):
            steps.write(f"/proc/{pid}/{file}", idmap.lines(spec["linux"].get(name) or []).encode())
        yield _joining(spec, {kind: f"/proc/{pid}/ns/{name}" for kind, name in kinds.items()})


def _joining(spec: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    linux = spec["linux"]
    kinds = [{**one, "path": paths[one["type"]]} if one["type"] in paths else one for one in linux["namespaces"]]
    return {**spec, "linux": {**linux, "namespaces": kinds}}
