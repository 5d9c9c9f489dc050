import socket

from cribus.network import conntrack
from cribus.network.firewall import Firewall

from tests.unit.network.conftest import TAG


def test_udp_flows_are_forgotten(firewall: Firewall) -> None:
    firewall.render(4, set())  # nat rules make the kernel follow connections
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(TAG.encode(), ("127.0.0.1", port))
            server.recv(100)
        assert conntrack.forget_udp({port}) == 1
        assert conntrack.forget_udp({port}) == 0
