from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.network.external import Call
from cribus.network.firewall import Firewall
from cribus.network.links import Links
from cribus.network.portmap import Portmap, ports, supports

from tests.unit.network.conftest import table_text

CALL = Call("c", "", "eth0")


def conf(bridge: str, *mappings: dict[str, Any]) -> dict[str, Any]:
    ips = [{"address": "10.1.0.2/16"}, {"address": "10.1.0.9/16"}, {"address": "fd00::2/64"}]
    return {
        "type": "portmap",
        "runtimeConfig": {"portMappings": list(mappings)},
        "prevResult": {"interfaces": [{"name": bridge}], "ips": ips},
    }


def test_each_family_by_its_first_address() -> None:
    wanted = conf("b", {"hostPort": 1, "containerPort": 2}, {"hostPort": 3, "containerPort": 4, "hostIP": "127.0.0.1"})
    assert [(one.port, str(one.to)) for one in ports(wanted, wanted["prevResult"])] == [
        (1, "10.1.0.2"),
        (3, "10.1.0.2"),
        (1, "fd00::2"),
    ]


def test_add_check_and_delete(firewall: Firewall, bridge: str) -> None:
    with Links() as host:
        host.make_bridge(bridge, "0a:58:00:00:00:01")
    plugin = Portmap(firewall)
    wanted = conf(bridge, {"hostPort": 18001, "containerPort": 2, "protocol": "udp"})
    assert plugin.add(wanted, CALL) == wanted["prevResult"]
    plugin.check(wanted, CALL)
    assert "udp . 18001" in table_text()
    for _ in range(2):
        plugin.delete(wanted, CALL)
    with pytest.raises(FailedPrecondition, match="18001"):
        plugin.check(wanted, CALL)
    plugin.delete({"type": "portmap"}, CALL)


def test_options_that_we_do_not_know_are_left_to_the_reference() -> None:
    assert supports({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    assert not supports({"type": "portmap", "snat": False})
    assert not supports({"type": "portmap", "conditionsV4": ["-d", "1.2.3.4"]})
