"""runtime-spec `linux.sysctl` → files below /proc/sys, those of the container's own namespaces alone.
Source: runtime-spec config-linux.md "Sysctl", sysctl.d(5), namespaces(7)."""

from cribus.errors import InvalidArgument
from cribus.executor.plan.host import own_network

_IPC = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")


def files(values: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """Path below /proc/sys → what is written there. `wanted` is kind → path of the container's namespaces.

    Raises InvalidArgument for one that would change the host.
    """
    return {_allowed(name, wanted): value for name, value in values.items()}


def path(name: str) -> str:
    """Names are separated by dots or slashes: which of them comes first does it, the other one is part of a name.
    Raises InvalidArgument for one that leads elsewhere."""
    first = next((letter for letter in name if letter in "./"), "/")
    found = name if first == "/" else name.translate(str.maketrans("./", "/."))
    if not all(part.strip(".") for part in found.split("/")):
        raise InvalidArgument(f"{name!r} is no name of a sysctl; an example is net.core.somaxconn")
    return found


def _allowed(name: str, wanted: dict[str, str]) -> str:
    found = path(name)
    area, _, rest = found.partition("/")
    kind = _kind(area, rest)
    if found == "kernel/hostname":
        raise InvalidArgument(f"linux.sysctl {name}: give the document's hostname instead")
    if not kind:
        raise InvalidArgument(f"linux.sysctl {name} is of no namespace: it would change the whole host")
    if kind not in wanted or (kind == "network" and wanted[kind] and own_network(wanted[kind])):
        raise InvalidArgument(f"linux.sysctl {name} would change the host: it needs a {kind} namespace")
    return found


def _kind(area: str, rest: str) -> str:
    """Which namespace has it."""
    if area == "kernel":
        return "ipc" if rest in _IPC else "uts" if rest in ("domainname", "hostname") else ""
    if area == "fs":
        return "ipc" if rest.startswith("mqueue/") else ""
    return {"net": "network", "user": "user"}.get(area, "")
