import json
import os
import subprocess
from pathlib import Path

import pytest
from cribus.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from cribus.network.links import Links
from cribus.network.pods import Network, Pod, open_network

from tests.unit.network.conftest import TAG, THIRD, MakeNamespace, Settings, table_text

PORT = {"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}


def ports_of(bridge: str) -> list[str]:
    return os.listdir(f"/sys/class/net/{bridge}/brif")


def reserved(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "root/network/addresses/cribus").glob("[0-9f]*"))


def test_a_repeat_answers_the_same(network: Network, namespace: MakeNamespace) -> None:
    pod = Pod("a" * 64, namespace(), ports=[PORT])
    first = network.attach(pod)
    assert (first.ips, first.gateway, first.interface) == ([f"10.{THIRD}.0.2"], f"10.{THIRD}.0.1", "eth0")
    assert network.attach(pod) == first
    network.check(pod.id)


def test_detach_from_every_state(network: Network, namespace: MakeNamespace, bridge: str, tmp_path: Path) -> None:
    path = namespace()
    network.detach("b" * 64)
    network.attach(Pod("b" * 64, path, ports=[PORT]))
    subprocess.run(["ip", "netns", "del", os.path.basename(path)], check=True)
    for netns in (path, "", path):
        network.detach("b" * 64, netns)
    assert reserved(tmp_path) == []
    assert "elements" not in table_text()
    with pytest.raises(FailedPrecondition, match="not attached"):
        network.check("b" * 64)


def test_a_new_namespace_is_attached_anew(network: Network, namespace: MakeNamespace, bridge: str) -> None:
    first = network.attach(Pod("c" * 64, namespace()))
    second = network.attach(Pod("c" * 64, namespace()))
    assert first.ips != second.ips
    assert len(ports_of(bridge)) == 1


def test_a_crash_while_adding_leaves_what_detach_undoes(
    network: Network, namespace: MakeNamespace, bridge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    pod = Pod("d" * 64, namespace(), ports=[PORT])
    for where in ("cribus.network.bridge._inside", "cribus.network.portmap._forget_flows", "cribus.network.pods._call"):
        with monkeypatch.context() as patch:
            patch.setattr(where, crash)
            with pytest.raises(Crash):
                network.attach(Pod(pod.id, pod.netns, ports=[{**PORT, "protocol": "udp"}]))
        network.detach(pod.id)
        assert reserved(tmp_path) == []
        assert "elements" not in table_text()
        with Links() as host:
            for name in ports_of(bridge):
                host.delete(name)
            for link in host.all():
                if link.name.startswith(network._prefix):
                    host.delete(link.name)
    network.attach(pod)


def test_reconcile_frees_what_is_gone(network: Network, namespace: MakeNamespace, bridge: str, tmp_path: Path) -> None:
    stay, leave = Pod("e" * 64, namespace(), ports=[PORT]), Pod("f" * 64, namespace(), ports=[{**PORT, "hostPort": 1}])
    kept = network.attach(stay)
    network.attach(leave)
    (tmp_path / "root/network/addresses/cribus/10.1.1.1").write_text("nobody\r\neth0")
    subprocess.run(["nft", "flush", "table", "ip", TAG], check=True)
    again = open_network(Settings(f"{tmp_path}/cni", bridge=bridge), f"{tmp_path}/root")
    again.reconcile({stay.id})
    assert reserved(tmp_path) == kept.ips
    assert len(ports_of(bridge)) == 1
    assert "18080" in table_text()
    assert "tcp . 1 " not in table_text()
    assert "masquerade" in table_text()
    with Links() as host:
        assert [link.name for link in host.all() if link.name.startswith(again._prefix)] == ports_of(bridge)
    again.check(stay.id)


def test_a_host_port_of_another_pod(network: Network, namespace: MakeNamespace, tmp_path: Path) -> None:
    network.attach(Pod("a" * 64, namespace(), ports=[PORT]))
    with pytest.raises(AlreadyExists, match="18080"):
        network.attach(Pod("b" * 64, namespace(), ports=[PORT]))
    network.detach("b" * 64)
    assert "18080 : 10." in table_text()
    network.check("a" * 64)


def test_another_pod_cidr(network: Network, namespace: MakeNamespace) -> None:
    network.attach(Pod("a" * 64, namespace()))
    network.set_pod_cidr(f"10.{THIRD + 50}.1.0/24")
    assert network.attach(Pod("b" * 64, namespace())).ips == [f"10.{THIRD + 50}.1.2"]
    assert table_text().count("ip daddr != 224.0.0.0/4") == 2


def test_ready(tmp_path: Path) -> None:
    network = open_network(Settings(str(tmp_path), ("/nowhere",)), f"{tmp_path}/root")
    assert network.ready() == (True, "")
    (tmp_path / "1.conflist").write_text('{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "calico"}]}')
    assert network.ready()[0] is False
    assert "calico" in network.ready()[1]
    (tmp_path / "1.conflist").write_text("{")
    assert "1.conflist" in network.ready()[1]


def test_stats(network: Network, namespace: MakeNamespace) -> None:
    pod = Pod("a" * 64, namespace())
    network.attach(pod)
    counters = network.stats(pod.netns)
    assert list(counters) == ["eth0"]
    assert counters["eth0"].keys() >= {"rx_bytes", "rx_errors", "tx_bytes", "tx_errors"}


def test_plugins_get_the_kubelets_arguments(namespace: MakeNamespace, tmp_path: Path, bridge: str) -> None:
    plugin = tmp_path / "mine"
    answer = {"cniVersion": "1.1.0", "ips": [{"address": "10.9.9.9/24"}]}
    plugin.write_text(f"#!/bin/sh\ncat >{tmp_path}/in\necho $CNI_ARGS >{tmp_path}/args\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o755)
    abilities = {"capabilities": {"bandwidth": True, "ipRanges": True}}
    (tmp_path / "1.conflist").write_text(
        json.dumps({"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "mine", **abilities}]})
    )
    network = open_network(Settings(str(tmp_path), (str(tmp_path),)), f"{tmp_path}/root")
    network.set_pod_cidr("10.7.0.0/24")
    pod = Pod("a" * 64, namespace(), "web", "shop", "u1", annotations={"kubernetes.io/egress-bandwidth": "1M"})
    assert network.attach(pod).ips == ["10.9.9.9"]
    runtime = json.loads((tmp_path / "in").read_text())["runtimeConfig"]
    assert runtime["bandwidth"]["egressRate"] == 1_000_000
    assert runtime["ipRanges"] == [[{"subnet": "10.7.0.0/24"}]]
    arguments = (tmp_path / "args").read_text().strip().split(";")
    assert {"IgnoreUnknown=1", "K8S_POD_NAMESPACE=shop", "K8S_POD_NAME=web", "K8S_POD_UID=u1"} <= set(arguments)
    network.detach(pod.id)
    later = open_network(Settings(str(tmp_path), (str(tmp_path),)), f"{tmp_path}/root")  # after a restart
    later.attach(Pod("b" * 64, namespace()))
    assert json.loads((tmp_path / "in").read_text())["runtimeConfig"]["ipRanges"] == [[{"subnet": "10.7.0.0/24"}]]
    later.detach("b" * 64)
    with pytest.raises(InvalidArgument):
        network.attach(Pod("b" * 64, namespace(), annotations={"kubernetes.io/egress-bandwidth": "x"}))


def test_a_node_that_is_taken_down_leaves_nothing(network: Network, namespace: MakeNamespace, bridge: str) -> None:
    network.attach(Pod("a" * 64, namespace(), ports=[PORT]))
    for _ in range(2):
        network.remove()
    assert table_text() == ""
    with Links() as host:
        assert host.find(bridge) is None


def test_a_plugin_that_fails_for_one_pod_hinders_no_other(
    network: Network, namespace: MakeNamespace, bridge: str, tmp_path: Path
) -> None:
    stay = Pod("e" * 64, namespace(), ports=[PORT])
    network.attach(stay)
    plugin = tmp_path / "mine"
    answer = json.dumps({"cniVersion": "1.0.0", "ips": [{"address": "10.9.9.9/24"}]})
    plugin.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 1\necho '{answer}'\n")
    plugin.chmod(0o755)
    (tmp_path / "cni").mkdir()
    conf = {"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "mine"}]}
    (tmp_path / "cni" / "1.conflist").write_text(json.dumps(conf))
    again = open_network(Settings(f"{tmp_path}/cni", (str(tmp_path),), bridge=bridge), f"{tmp_path}/root")
    again.attach(Pod("a" * 64, namespace()))
    subprocess.run(["nft", "flush", "table", "ip", TAG], check=True)
    (tmp_path / "root/network/addresses/cribus/10.1.1.1").write_text("nobody\r\neth0")
    with pytest.raises(Unavailable, match="mine DEL failed"):
        again.reconcile({stay.id})
    assert "18080" in table_text()
    assert "10.1.1.1" not in reserved(tmp_path)
    again.check(stay.id)
    with pytest.raises(Unavailable, match="mine DEL failed"):
        again.remove()
    assert table_text() == ""


def test_plugins_are_told_who_is_attached(namespace: MakeNamespace, tmp_path: Path, bridge: str) -> None:
    """CNI's GC at start-up, of today's network and of one that a pod still has. What fails hinders no other."""
    plugin, asked = tmp_path / "mine", tmp_path / "GC"
    answer = {"cniVersion": "1.1.0", "ips": [{"address": "10.9.9.9/24"}]}
    script = f"cat >{tmp_path}/in; cat {tmp_path}/in >>{tmp_path}/$CNI_COMMAND; echo >>{tmp_path}/$CNI_COMMAND"
    fail = f'[ $CNI_COMMAND = GC ] && grep -q \'"name": "old"\' {tmp_path}/in && exit 1'
    plugin.write_text(f"#!/bin/sh\n{script}\n{fail}\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o755)

    def network(name: str) -> Network:
        document = {"cniVersion": "1.1.0", "name": name, "plugins": [{"type": "mine"}]}
        (tmp_path / "1.conflist").write_text(json.dumps(document))
        return open_network(Settings(str(tmp_path), (str(tmp_path),), bridge=bridge), f"{tmp_path}/root")

    before = network("old")
    for letter in "ab":
        before.attach(Pod(letter * 64, namespace()))
    stray = tmp_path / "root/network/addresses/cribus/10.1.1.1"
    stray.parent.mkdir(parents=True)
    stray.write_text("nobody\r\neth0")
    with pytest.raises(Unavailable, match="mine GC"):
        network("new").reconcile({"a" * 64})
    assert not stray.exists()
    told = {one["name"]: one["cni.dev/valid-attachments"] for one in map(json.loads, asked.read_text().splitlines())}
    assert told == {"old": [{"containerID": "a" * 64, "ifname": "eth0"}], "new": []}
