"""hostname, hosts and resolv.conf."""

from pathlib import Path

import pytest
from cribus.api.cri.sandbox import DNSConfig
from cribus.errors import InvalidArgument
from cribus.manager import podfiles


def test_names_of_a_pod(tmp_path: Path) -> None:
    folder = tmp_path / "pod"
    dns = DNSConfig(servers=["10.0.0.10"], searches=["svc", "local"], options=["ndots:5"])
    podfiles.write(str(folder), "web", dns)
    podfiles.write_hosts(str(folder), "web", ["10.0.0.2", "fd00::2"])
    assert (folder / "hostname").read_text() == "web\n"
    assert (folder / "resolv.conf").read_text() == "search svc local\nnameserver 10.0.0.10\noptions ndots:5\n"
    hosts = (folder / "hosts").read_text()
    assert hosts.startswith("127.0.0.1\tlocalhost\n")
    assert hosts.endswith("10.0.0.2\tweb\nfd00::2\tweb\n")
    assert sorted(path.name for path in folder.iterdir()) == ["hostname", "hosts", "resolv.conf"]


def test_without_words_the_hosts_own(tmp_path: Path) -> None:
    expected = Path("/etc/resolv.conf").read_bytes() if Path("/etc/resolv.conf").exists() else b""
    assert podfiles.resolv(None) == podfiles.resolv(DNSConfig()) == expected
    podfiles.write_hosts(str(tmp_path), "web", [])
    assert "localhost" in (tmp_path / "hosts").read_text()


def test_too_many_servers() -> None:
    with pytest.raises(InvalidArgument, match="at most 3"):
        podfiles.resolv(DNSConfig(servers=["1.1.1.1"] * 4))
