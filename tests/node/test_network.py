"""Pod networks with real packets: our built-in plugins and, side by side, the reference plugins.

The reference plugins (containernetworking v1.9.1) are found in $CRIBUS_CNI_BIN or on PATH.
"""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus import config
from cribus.network.links import Links
from cribus.network.pods import Network, Pod, open_network

from tests.netns import MakeNamespace, namespaces

TAG = f"crbt{os.getpid() % 1000000}"
BRIDGE = f"{TAG}b"
SUBNET = f"10.{os.getpid() % 100 + 120}.0.0/16"
PORT = {"hostPort": 18090, "containerPort": 8080, "protocol": "tcp"}
_OUTSIDES = itertools.count()
KINDS = ("default", "builtin", "reference")
SERVE = """
import socket, sys
s = socket.create_server(("", 8080))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(peer[0].encode())
    c.close()
"""
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(99).decode())"


def reference_plugins() -> str:
    """The folder of the reference plugins, or empty."""
    named = os.environ.get("CRIBUS_CNI_BIN", "")
    found = shutil.which("host-local", path=named or None)
    return os.path.dirname(found) if found else ""


def conflist(kind: str, folder: Path, version: str = "1.0.0") -> None:
    """A list as a cluster's owner writes it. The reference is asked for by an option that only it knows."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isDefaultGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "subnet": SUBNET, "dataDir": f"{folder}/data"},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    if kind == "reference":
        bridge["preserveDefaultVlan"] = True
    (folder / "cni").mkdir()
    document = {"cniVersion": version, "name": TAG, "plugins": [bridge, portmap]}
    (folder / "cni" / "10-test.conflist").write_text(json.dumps(document))


@pytest.fixture(params=KINDS)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    if os.geteuid():
        pytest.skip("networks need root")
    plugins = reference_plugins()
    if request.param == "reference" and not plugins:
        pytest.skip("the reference plugins are not here: set CRIBUS_CNI_BIN")
    if request.param != "default":
        conflist(request.param, tmp_path)
    settings = config.Network(
        conf_dir=f"{tmp_path}/cni", bin_dirs=(plugins or "/none",), bridge=BRIDGE, subnet=SUBNET, table=TAG
    )
    made = open_network(settings, f"{tmp_path}/root")
    try:
        yield made
    finally:
        made.reconcile(set())
        made.firewall.delete()
        with Links() as host:
            host.delete(BRIDGE)


@pytest.fixture
def namespace() -> Iterator[MakeNamespace]:
    with namespaces(TAG) as make:
        yield make


def ask(address: str, port: int, netns: str = "") -> str:
    """From which address a server sees us; from the host, or from a namespace."""
    enter = ["nsenter", f"--net={netns}"] if netns else []
    argv = [*enter, sys.executable, "-c", ASK, address, str(port)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{address}:{port} from {netns or 'the host'}: {done.stderr[-200:]}"
    return done.stdout.strip()


@contextlib.contextmanager
def server(netns: str) -> Iterator[None]:
    argv = ["nsenter", f"--net={netns}", sys.executable, "-c", SERVE]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def outside() -> Iterator[tuple[str, str]]:
    """A machine beside the host: (its namespace, the host's address there)."""
    number = next(_OUTSIDES)  # a fresh name and subnet each time: the kernel removes the last one's link later
    name, subnet = f"{TAG}o{number}", f"198.18.{(os.getpid() + number) % 250}"
    commands = (
        f"ip netns add {name}",
        f"ip link add {name}h type veth peer name eth0 netns {name}",
        f"ip addr add {subnet}.1/24 dev {name}h",
        f"ip link set {name}h up",
        f"ip -n {name} addr add {subnet}.2/24 dev eth0",
        f"ip -n {name} link set eth0 up",
    )
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield f"/run/netns/{name}", f"{subnet}.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def test_packets(network: Network, namespace: MakeNamespace) -> None:
    assert network.ready() == (True, "")
    first = Pod("a" * 64, namespace(), "a", ports=[PORT])
    second = Pod("b" * 64, namespace(), "b")
    web, other = network.attach(first), network.attach(second)
    address = web.ips[0]
    with server(first.netns), outside() as (machine, host):
        assert ask(address, 8080) == web.gateway, "host to pod"
        assert ask(address, 8080, second.netns) == other.ips[0], "pod to pod keeps its address"
        assert ask("127.0.0.1", 18090), "host port by 127.0.0.1"
        assert ask(host, 18090), "host port by an address of the host"
        assert ask(host, 18090, machine) == host[:-1] + "2", "host port from outside keeps the address"
        assert ask(host, 18090, second.netns), "host port from another pod"
        assert ask(host, 18090, first.netns), "host port from the pod itself"
    with server(second.netns):
        assert ask(other.ips[0], 8080, first.netns) == address


def test_masquerade_to_the_outside(network: Network, namespace: MakeNamespace) -> None:
    pod = Pod("a" * 64, namespace())
    network.attach(pod)
    with outside() as (machine, host), server(machine):
        assert ask(host[:-1] + "2", 8080, pod.netns) == host


@pytest.mark.parametrize("network", ["default", "builtin"], indirect=True)  # the reference plugin leaves it open
def test_a_pod_does_not_reach_the_hosts_loopback(network: Network, namespace: MakeNamespace) -> None:
    """route_localnet opens a way to 127.0.0.1 of the host for a pod that forges; our rules close it."""
    pod = Pod("a" * 64, namespace(), ports=[PORT])
    network.attach(pod)
    forge = (
        "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip rule add pref 1 lookup local;"
        f"ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local;"
        f"ip route add 127.0.0.1 via {SUBNET.split('.0.0/')[0]}.0.1 dev eth0 src {network.attach(pod).ips[0]}"
    )
    subprocess.run(["nsenter", f"--net={pod.netns}", "sh", "-c", forge], stderr=subprocess.DEVNULL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.5)
        send = f"import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {listener.getsockname()[1]}))"
        subprocess.run(["nsenter", f"--net={pod.netns}", sys.executable, "-c", send], check=True)
        with pytest.raises(TimeoutError):
            listener.recv(9)


def test_nothing_is_left(network: Network, namespace: MakeNamespace, tmp_path: Path) -> None:
    pods = [Pod(letter * 64, namespace(), ports=[{**PORT, "hostPort": 18090 + n}]) for n, letter in enumerate("abc")]
    for pod in pods:
        network.attach(pod)
    for pod in pods:
        network.detach(pod.id, pod.netns)
        network.detach(pod.id, pod.netns)
    assert os.listdir(f"/sys/class/net/{BRIDGE}/brif") == []
    text = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    assert "18090" not in text
    assert (
        "elements = {" not in subprocess.run(["nft", "list", "table", "ip", TAG], capture_output=True, text=True).stdout
    )
    found = [path.name for path in tmp_path.rglob("10.*") if path.suffix != ".conflist" and path.is_file()]
    assert found == []
    assert list((tmp_path / "root/network/attached").iterdir()) == []


def test_the_reference_plugins_are_asked_how_they_are_and_who_is_left(namespace: MakeNamespace, tmp_path: Path) -> None:
    """STATUS and GC of CNI 1.1: the former decides NetworkReady, the latter is told at start-up who is attached."""
    plugins = reference_plugins()
    if not plugins:
        pytest.skip("the reference plugins are not here: set CRIBUS_CNI_BIN")
    conflist("reference", tmp_path, "1.1.0")
    for name in ("bridge", "portmap"):  # each writes down what it is asked, and answers by the reference
        script = f"tee {tmp_path}/{name}.$CNI_COMMAND | exec {plugins}/{name}"
        (tmp_path / name).write_text(f"#!/bin/bash\nset -o pipefail\n{script}\n")
        (tmp_path / name).chmod(0o755)
    settings = config.Network(
        conf_dir=f"{tmp_path}/cni", bin_dirs=(str(tmp_path), plugins), bridge=BRIDGE, subnet=SUBNET, table=TAG
    )
    network = open_network(settings, f"{tmp_path}/root")
    pod = Pod("a" * 64, namespace())
    try:
        network.attach(pod)
        assert network.ready() == (True, "")
        network.reconcile({pod.id})
        network.check(pod.id)
        for name in ("bridge", "portmap"):
            assert json.loads((tmp_path / f"{name}.STATUS").read_text())["cniVersion"] == "1.1.0"
            asked = json.loads((tmp_path / f"{name}.GC").read_text())
            assert asked["cni.dev/valid-attachments"] == [{"containerID": pod.id, "ifname": "eth0"}]
    finally:
        network.reconcile(set())
        network.firewall.delete()
        with Links() as host:
            host.delete(BRIDGE)
