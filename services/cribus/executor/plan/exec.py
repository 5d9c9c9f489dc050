"""A further process in a running container → the request of child/exec.py. Pure."""

from typing import Any

from cribus.executor.plan import build, process
from cribus.executor.plan.host import Host
from cribus.linux import namespaces

_ALWAYS = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS


def plan(asked: dict[str, Any], spec: dict[str, Any], where: tuple[list[str], Host]) -> dict[str, Any]:
    """`asked` is a runtime-spec process, `spec` the container's document, `where` the files by which its cgroup
    is joined, and the host. Raises InvalidArgument."""
    join, host = where
    wanted = build.namespaces_of(spec)
    return {
        "flags": _ALWAYS | (build.KINDS["cgroup"] if "cgroup" in wanted else 0),
        "users": bool(wanted.get("user")),
        "cgroups": join,
        "process": process.plan(asked, spec.get("linux") or {}, host),
    }
