"""Each lack has its sentence and, where one helps, its command."""

import msgspec
import pytest
from cribus.api.executor import Criu
from cribus.cli.health import judgments
from cribus.cli.health.facts import Bus, Cni, Facts, Service
from cribus.config import Settings

SETTINGS = Settings(node="unit")
GOOD = Facts(
    kernel="6.18.1",
    version=(6, 18),
    pidfd_exit=True,
    cgroup="v2",
    controllers=["cpu", "memory", "pids"],
    overlayfs=True,
    nftables_kernel=True,
    nftables_library=True,
    seccomp_kernel=True,
    seccomp_library=True,
    capabilities=(1 << 41) - 1,
    run_type="tmpfs",
    disk_free=10**11,
    disk_share=0.5,
    inode_share=0.5,
    services=[Service("manager", "RUNNING", 7, 0)],
    node="",
    gateway=True,
    bus=Bus(milliseconds=0.4, records=1000, criu=Criu(version="4.2")),
    cni=Cni(),
)


def _not_ok(**changed: object) -> list[judgments.Judgment]:
    facts = msgspec.structs.replace(GOOD, **changed)
    return [one for one in judgments.judge(facts, SETTINGS) if one.level != judgments.OK]


def test_a_good_host_has_nothing_to_mend() -> None:
    assert _not_ok() == []


@pytest.mark.parametrize(
    ("changed", "level", "fact", "next"),
    [
        ({"version": (4, 19), "kernel": "4.19"}, "bad", "kernel 4.19", "5.10"),
        ({"pidfd_exit": False, "kernel": "6.1"}, "warn", "kernel 6.1", ""),
        ({"cgroup": ""}, "bad", "no cgroups", "mount -t cgroup2"),
        ({"cgroup": "hybrid"}, "warn", "cgroup hybrid", "unified_cgroup_hierarchy"),
        ({"controllers": ["cpu"]}, "bad", "without memory, pids", ""),
        ({"overlayfs": False}, "bad", "overlayfs", "modprobe overlay"),
        ({"run_type": "ext4"}, "warn", "is on ext4", "tmpfs"),
        ({"nftables_kernel": False}, "bad", "nftables", "modprobe nf_tables"),
        ({"nftables_library": False}, "bad", "libnftables", "apt-get install libnftables1"),
        ({"seccomp_kernel": False}, "bad", "seccomp", ""),
        ({"seccomp_library": False}, "bad", "libseccomp", "apt-get install libseccomp2"),
        ({"capabilities": GOOD.capabilities & ~(1 << 24)}, "warn", "CAP_SYS_RESOURCE", ""),
        ({"bus": Bus(criu=Criu(missing="it is not installed"))}, "warn", "no checkpoints", "apt-get install criu"),
        ({"bus": Bus(criu=Criu("3.17", "vdso"))}, "warn", "no checkpoints", ""),
        ({"disk_share": 0.01}, "warn", "100 GB free", "cribus rmi --all"),
        ({"node": "the node is not running", "services": []}, "bad", "services do not run", "cribus up"),
        ({"hangs": [("nats", 2, 1, "stopped")]}, "warn", "nats hung 2 times and was replaced", "log/nats.log"),
        ({"services": [Service("images", "BACKOFF", 0, 9)]}, "bad", "images is backoff", "log/images.log"),
        ({"gateway": False}, "bad", "nobody listens", "log/gateway.log"),
        ({"bus": Bus(refused="it does not answer")}, "bad", "no bus at", "cribus up"),
        ({"bus": Bus(jetstream="no account")}, "bad", "no JetStream", ""),
        ({"cni": Cni(path="/x/10.conflist", broken="ValueError")}, "bad", "/x/10.conflist", "json.tool"),
        ({"cni": Cni(path="/x/10.conflist", plugins=["calico"], missing=["calico"])}, "bad", "calico", ""),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_lack(changed: dict[str, object], level: str, fact: str, next: str) -> None:
    [one] = _not_ok(**changed)
    assert one.level == level
    assert fact in one.fact
    assert next in one.next
    assert one.meaning


def test_without_root() -> None:
    found = _not_ok(capabilities=0)
    assert [one.level for one in found] == ["bad", "warn"]
    assert "CAP_SYS_ADMIN" in found[0].fact
