import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition, Unavailable
from cribus.network.chain import Chain, request
from cribus.network.config import NetworkList, default
from cribus.network.external import Call
from cribus.network.firewall import Firewall

CALL = Call("c", "/ns", "eth0", capabilities={"portMappings": [{"hostPort": 1}], "dns": {"servers": ["1.1.1.1"]}})


def plugins(folder: Path, *names: str, fail: str = "") -> tuple[Chain, NetworkList]:
    """Plugins that write down what they were asked, and add themselves to the result."""
    for name in names:
        path = folder / name
        path.write_text(
            f"#!/bin/sh\ncat >{folder}/{name}.$CNI_COMMAND\necho {name} $CNI_COMMAND >>{folder}/calls\n"
            f'[ {name}$CNI_COMMAND = "{fail}" ] && echo \'{{"code": 99, "msg": "no"}}\' && exit 1\n'
            f'[ $CNI_COMMAND = ADD ] && echo \'{{"cniVersion": "1.1.0", "by": "{name}"}}\' || true\n'
        )
        path.chmod(0o755)
    return Chain(Firewall("crbnone"), (str(folder),)), NetworkList(
        "net", "1.1.0", [{"type": name, "capabilities": {"dns": name == "b"}} for name in names]
    )


def asked(folder: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / name).read_text())
    return read


def test_add_in_order_delete_in_reverse(tmp_path: Path) -> None:
    chain, network = plugins(tmp_path, "a", "b")
    notes: list[dict[str, Any]] = []
    result = chain.add(network, CALL, notes.append)
    assert result["by"] == "b"
    assert [one["by"] for one in notes] == ["a"]
    assert asked(tmp_path, "b.ADD")["prevResult"]["by"] == "a"
    assert asked(tmp_path, "b.ADD")["runtimeConfig"] == {"dns": {"servers": ["1.1.1.1"]}}
    assert "runtimeConfig" not in asked(tmp_path, "a.ADD")
    chain.check(network, CALL, result)
    chain.delete(network, CALL, result)
    assert asked(tmp_path, "a.DEL")["prevResult"]["by"] == "b"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["a ADD", "b ADD", "a CHECK", "b CHECK", "b DEL", "a DEL"]


def test_an_error_ends_the_chain(tmp_path: Path) -> None:
    chain, network = plugins(tmp_path, "a", "b", fail="aADD")
    with pytest.raises(Unavailable, match="CNI plugin a ADD failed: no"):
        chain.add(network, CALL, lambda _: None)
    assert (tmp_path / "calls").read_text() == "a ADD\n"


def test_status(tmp_path: Path) -> None:
    chain, network = plugins(tmp_path, "a", fail="aSTATUS")
    with pytest.raises(Unavailable, match="STATUS"):
        chain.status(network)
    with pytest.raises(FailedPrecondition, match="install it"):
        chain.status(NetworkList("n", "1.0.0", [{"type": "absent"}]))
    chain.status(default("b", "10.0.0.0/24", "/d"))  # built in: needs no program


def test_garbage_is_collected_by_every_plugin(tmp_path: Path) -> None:
    chain, network = plugins(tmp_path, "a", "b", fail="aGC")
    with pytest.raises(Unavailable, match="CNI plugin a GC failed: no"):
        chain.collect(network, [("c", "eth0")])
    for name in "ab":
        conf = asked(tmp_path, f"{name}.GC")
        assert conf["cni.dev/valid-attachments"] == [{"containerID": "c", "ifname": "eth0"}]
        assert conf["cni.dev/attachments"] == conf["cni.dev/valid-attachments"]
        assert (conf["name"], conf["cniVersion"], conf["type"]) == ("net", "1.1.0", name)
    for other in (replace(network, version="1.0.0"), replace(network, disable_gc=True)):
        chain.collect(other, [])
    assert (tmp_path / "calls").read_text().splitlines() == ["a GC", "b GC"]


def test_portmap_after_a_bridge_that_is_not_ours_is_executed(tmp_path: Path) -> None:
    chain, _ = plugins(tmp_path, "ptp", "portmap")
    network = NetworkList("n", "1.1.0", [{"type": "ptp"}, {"type": "portmap"}])
    assert chain.add(network, CALL, lambda _: None)["by"] == "portmap"


def test_old_versions_get_no_result_on_delete(tmp_path: Path) -> None:
    chain, _ = plugins(tmp_path, "a")
    chain.delete(NetworkList("n", "0.3.1", [{"type": "a"}]), CALL, {"by": "a"})
    assert "prevResult" not in asked(tmp_path, "a.DEL")


def test_a_request_has_only_declared_capabilities() -> None:
    network = default("b", "10.0.0.0/24", "/d")
    conf = request(network, network.plugins[1], CALL, None)
    assert conf["runtimeConfig"] == {"portMappings": [{"hostPort": 1}]}
    assert (conf["name"], conf["cniVersion"]) == ("cribus", "1.1.0")
