"""A further process in a running container → the request of child/exec.py. Pure."""

from typing import TYPE_CHECKING, Any

from cribus.executor.plan import build, process, scheduling
from cribus.executor.plan.host import Host
from cribus.linux import namespaces

if TYPE_CHECKING:
    from cribus.api.executor import Exec  # the command line starts cold

_ALWAYS = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS


def of(spec: dict[str, Any], request: "Exec") -> dict[str, Any]:
    """The container's own `process`, but for what was asked."""
    base = spec.get("process") or {}
    return {
        **base,
        "args": request.args,
        "env": [*(base.get("env") or []), *request.env],
        "cwd": request.cwd or base.get("cwd") or "/",
        "terminal": request.tty,
    }


def plan(asked: dict[str, Any], spec: dict[str, Any], where: tuple[list[str], Host]) -> dict[str, Any]:
    """`asked` is a runtime-spec process, `spec` the container's document, `where` the files by which its cgroup
    is joined, and the host. Raises InvalidArgument."""
    join, host = where
    wanted = build.namespaces_of(spec)
    return {
        "flags": _ALWAYS | sum(build.KINDS[kind] for kind in ("cgroup", "time") if kind in wanted),
        "affinity": scheduling.affinity(asked),
        "users": "user" in wanted,
        "cgroups": join,
        "process": process.plan(asked, spec.get("linux") or {}, host),
    }
