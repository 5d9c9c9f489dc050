"""User and group ids of a user namespace, seen from the host. Source: user_namespaces(7). Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cribus.errors import InvalidArgument

if TYPE_CHECKING:  # the command line loads no messages
    from cribus.api.executor import IdMap


def text(maps: "Sequence[IdMap]") -> str:
    """The lines of /proc/<pid>/uid_map. Raises InvalidArgument for none or an empty one."""
    if not maps or any(one.size < 1 for one in maps):
        raise InvalidArgument("a user namespace needs a mapping of at least one id for users and for groups")
    return "".join(f"{one.container} {one.host} {one.size}\n" for one in maps)


def lines(mappings: list[dict[str, Any]]) -> str:
    """The same of the runtime-spec's."""
    return "".join(f"{one['containerID']} {one['hostID']} {one['size']}\n" for one in mappings)


class Owner:
    """Who on the host is a container's user; without mappings everybody is himself."""

    def __init__(self, linux: dict[str, Any]) -> None:
        self._users = linux.get("uidMappings") or []
        self._groups = linux.get("gidMappings") or []

    @property
    def mapped(self) -> bool:
        return bool(self._users)

    def uid(self, inside: int) -> int:
        return host_id(self._users, inside, "user")

    def gid(self, inside: int) -> int:
        return host_id(self._groups, inside, "group")

    def same(self, users: list[dict[str, Any]], groups: list[dict[str, Any]]) -> bool:
        """Whether these mappings are the container's own."""
        return (lines(users), lines(groups)) == (lines(self._users), lines(self._groups))


def host_id(mappings: list[dict[str, Any]], inside: int, kind: str) -> int:
    """The host's id. Raises InvalidArgument when none is mapped to it."""
    if not mappings:
        return inside
    for one in mappings:
        if one["containerID"] <= inside < one["containerID"] + one["size"]:
            host: int = one["hostID"] + inside - one["containerID"]
            return host
    raise InvalidArgument(f"{kind} {inside} is not mapped in the user namespace; widen its mappings")
