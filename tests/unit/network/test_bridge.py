from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.network.bridge import Bridge, segments, supports
from cribus.network.external import Call
from cribus.network.firewall import Firewall

from tests.unit.network.conftest import TAG, THIRD, MakeNamespace, inside, table_text


def conf(bridge: str, folder: Path, **more: Any) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "dataDir": str(folder),
        "ranges": [[{"subnet": f"10.{THIRD}.0.0/24"}], [{"subnet": f"fd00:{THIRD}::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "1.1.0", "name": "n", "type": "bridge", "bridge": bridge, "ipam": ipam, **more}


def test_a_pod_on_a_bridge(namespace: MakeNamespace, firewall: Firewall, bridge: str, tmp_path: Path) -> None:
    path = namespace()
    call = Call("c", path, "eth0", host_link=f"{TAG}v")
    wanted = conf(bridge, tmp_path, isDefaultGateway=True, ipMasq=True, hairpinMode=True, mtu=1400)
    result = Bridge(firewall).add(wanted, call)
    assert [one["name"] for one in result["interfaces"]] == [bridge, f"{TAG}v", "eth0"]
    assert result["ips"][0] == {"address": f"10.{THIRD}.0.2/24", "gateway": f"10.{THIRD}.0.1", "interface": 2}
    assert {one["dst"] for one in result["routes"]} == {"0.0.0.0/0", "::/0"}
    inside(path, "ping", "-c1", "-W2", f"10.{THIRD}.0.1") if Path("/bin/ping").exists() else None
    assert f"default via fd00:{THIRD}::1" in inside(path, "ip", "-6", "route")
    assert "mtu 1400" in inside(path, "ip", "link", "show", "eth0")
    assert f"10.{THIRD}.0.0/24 ip daddr" in table_text()
    assert Path(f"/sys/class/net/{bridge}/brif/{TAG}v/hairpin_mode").read_text() == "1\n"
    done = {**wanted, "prevResult": result}
    Bridge(firewall).check(done, call)
    for _ in range(2):
        Bridge(firewall).delete(done, call)
    assert not list(Path(f"/sys/class/net/{bridge}/brif").iterdir())
    assert not list((tmp_path / "n").glob("10.*"))
    with pytest.raises(FailedPrecondition, match="not a port"):
        Bridge(firewall).check(done, call)


def test_a_bridge_that_is_no_gateway(namespace: MakeNamespace, firewall: Firewall, bridge: str, tmp_path: Path) -> None:
    wanted = conf(bridge, tmp_path, promiscMode=True, cniVersion="0.4.0")
    result = Bridge(firewall).add(wanted, Call("c", namespace(), "eth0", host_link=f"{TAG}v"))
    assert result["ips"][0]["version"] == "4"
    assert [one.masquerade for one in segments(wanted, result)] == [False, False]
    assert "ip daddr !=" not in table_text()


def test_what_was_never_added_is_deleted(firewall: Firewall, bridge: str, tmp_path: Path) -> None:
    Bridge(firewall).delete(conf(bridge, tmp_path), Call("c", "", "eth0", host_link=f"{TAG}v"))


@pytest.mark.parametrize(
    ("more", "ours"),
    [
        ({}, True),
        ({"vlan": 0, "forceAddress": False}, True),
        ({"capabilities": {"ipRanges": True}}, True),
        ({"vlan": 5}, False),
        ({"capabilities": {"mac": True}}, False),
        ({"hairpinMode": True, "promiscMode": True}, False),
        ({"somethingNew": 1}, False),
        ({"ipam": {"type": "dhcp"}}, False),
    ],
)
def test_options_that_we_do_not_know_are_left_to_the_reference(more: dict[str, Any], ours: bool) -> None:
    assert supports({**conf("b", Path("/d")), **more}) is ours
