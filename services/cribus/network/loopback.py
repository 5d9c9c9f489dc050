"""The plugin loopback, built in: `lo` of the pod is up. Our bridge does so in its own batch."""

from typing import Any

from cribus.errors import FailedPrecondition
from cribus.linux.netns import within
from cribus.network import links
from cribus.network.external import Call

ADDRESS = {"address": "127.0.0.1/8", "interface": 0}


def supports(conf: dict[str, Any]) -> bool:
    return conf.keys() <= {"cniVersion", "name", "type", "prevResult", "runtimeConfig"}


class Loopback:
    def add(self, conf: dict[str, Any], call: Call) -> dict[str, Any]:
        bring_up(call.netns)
        before: dict[str, Any] | None = conf.get("prevResult")
        interface = {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": call.netns}
        return before or {"cniVersion": conf["cniVersion"], "interfaces": [interface], "ips": [ADDRESS], "dns": {}}

    def check(self, conf: dict[str, Any], call: Call) -> None:
        """Raises FailedPrecondition when lo is down."""
        with links.opened(call.netns) as netns:
            if not within(netns, _is_up):
                raise FailedPrecondition("lo of the pod is down: attach the pod anew")

    def delete(self, conf: dict[str, Any], call: Call) -> None:
        """Nothing to do: lo goes with its namespace."""

    def collect(self, conf: dict[str, Any]) -> None:
        """Nothing to do."""


def bring_up(path: str) -> None:
    """Bring up lo in the namespace at the path."""
    with links.opened(path) as netns:
        within(netns, _up)


def _up() -> None:
    with links.Links() as inside:
        inside.set_flags(1)


def _is_up() -> bool:
    with links.Links() as inside:
        found = inside.find("lo")
        return found is not None and bool(found.flags & links.UP)
