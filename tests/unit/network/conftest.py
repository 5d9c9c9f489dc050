"""Namespaces, folders and names of our own; whatever a test leaves is removed."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cribus.network.firewall import Firewall
from cribus.network.links import Links
from cribus.network.pods import Network, open_network

from tests.netns import MakeNamespace as MakeNamespace
from tests.netns import namespaces

TAG = f"crb{os.getpid() % 1000000}"
BRIDGE = f"{TAG}b"
THIRD = os.getpid() % 100 + 100


@dataclass(frozen=True)
class Settings:
    conf_dir: str
    bin_dirs: tuple[str, ...] = ()
    bridge: str = BRIDGE
    subnet: str = f"10.{THIRD}.0.0/16"
    table: str = TAG


@pytest.fixture
def kernel_closes() -> bool:
    """nftables' connection is the process's."""
    return True


@pytest.fixture
def namespace() -> Iterator[MakeNamespace]:
    """Makes network namespaces; answers the path of each."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    with namespaces(TAG) as make:
        yield make


@pytest.fixture
def firewall() -> Iterator[Firewall]:
    if os.geteuid():
        pytest.skip("nftables needs root")
    made = Firewall(TAG)
    try:
        yield made
    finally:
        made.delete()


@pytest.fixture
def bridge() -> Iterator[str]:
    """A bridge's name; the bridge and every link of ours is deleted afterwards."""
    try:
        yield BRIDGE
    finally:
        with contextlib.suppress(PermissionError), Links() as host:
            for link in host.all():
                if link.name.startswith(TAG):
                    host.delete(link.name)


@pytest.fixture
def network(tmp_path: Path, bridge: str, firewall: Firewall) -> Network:
    """A node's network as it is without any configuration. The fixtures it uses clean up after it."""
    return open_network(Settings(f"{tmp_path}/cni", bridge=bridge), f"{tmp_path}/root")


def table_text() -> str:
    """The IPv4 table as nft shows it; empty when there is none."""
    return subprocess.run(["nft", "list", "table", "ip", TAG], capture_output=True, text=True).stdout


def inside(netns: str, *argv: str) -> str:
    """What a command prints in a namespace."""
    command = ["nsenter", f"--net={netns}", *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
