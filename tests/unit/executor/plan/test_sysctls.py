import os
from pathlib import Path

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.plan import sysctls

OWN = {"network": "", "ipc": "", "uts": "/ns/uts"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ("kernel.domainname", "kernel/domainname"),
    ],
)
def test_files(name: str, path: str) -> None:
    assert sysctls.files({name: "1"}, OWN) == {path: "1"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vm.swappiness", "is of no namespace"),
        ("kernel.panic", "is of no namespace"),
        ("user.max_user_namespaces", "needs a user namespace"),
        ("kernel.hostname", "the document's hostname"),
        ("net/../kernel/panic", "no name of a sysctl"),
        ("net.a/..b", "no name of a sysctl"),
        ("", "no name of a sysctl"),
    ],
)
def test_what_would_change_the_host(name: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        sysctls.files({name: "1"}, OWN)
    with pytest.raises(InvalidArgument):
        sysctls.files({name: "1"}, {})


def test_a_joined_network_is_not_the_hosts(tmp_path: Path) -> None:
    assert sysctls.files({"net.a.b": "1"}, {"network": "/ns/none"})
    os.symlink("/proc/self/ns/net", tmp_path / "net")
    with pytest.raises(InvalidArgument, match="needs a network namespace"):
        sysctls.files({"net.a.b": "1"}, {"network": str(tmp_path / "net")})
