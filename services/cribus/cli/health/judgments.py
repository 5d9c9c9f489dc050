"""From facts to judgments: each a sentence, how bad it is, and the command that helps. Pure."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from cribus.cli.health.facts import Facts
from cribus.cli.output.table import age, size
from cribus.config import Settings

OK, WARN, BAD = "ok", "warn", "bad"

_CAP_SYS_RESOURCE = 24
# What the executor and the manager cannot do without; numbers of linux/capability.h.
_NEEDED = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
}
_LEAST_KERNEL = (5, 10)
_LITTLE = 0.05  # of a disk free: pulls begin to fail


class Judgment(NamedTuple):
    level: str
    fact: str
    meaning: str = ""
    next: str = ""  # a command, or "" when there is nothing to do


def judge(facts: Facts, settings: Settings) -> list[Judgment]:
    """Every judgment, host first, then node."""
    checks: tuple[Callable[[Facts, Settings], Iterator[Judgment]], ...] = (
        kernel,
        cgroups,
        filesystems,
        firewall,
        seccomp,
        capabilities,
        disk,
        services,
        bus,
        network,
        checkpoints,
    )
    return [one for check in checks for one in check(facts, settings)]


def kernel(facts: Facts, _: Settings) -> Iterator[Judgment]:
    if facts.version < _LEAST_KERNEL:
        yield Judgment(
            BAD,
            f"kernel {facts.kernel}",
            "too old: pidfds and the new mount calls are missing",
            "install Linux 5.10 or later",
        )
    elif not facts.pidfd_exit:
        yield Judgment(
            WARN,
            f"kernel {facts.kernel}",
            "exit codes cannot be read from a pidfd (Linux 6.15 can): should a keeper be killed, "
            "its container's exit code may stay unknown",
        )
    else:
        yield Judgment(OK, f"kernel {facts.kernel}", "a pidfd tells an exit code to every witness")


def cgroups(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    if not facts.cgroup:
        yield Judgment(
            BAD, "no cgroups at /sys/fs/cgroup", "nothing can be limited", "mount -t cgroup2 none /sys/fs/cgroup"
        )
        return
    missing = [name for name in ("cpu", "memory", "pids") if name not in facts.controllers]
    if missing:
        yield Judgment(BAD, f"cgroup {facts.cgroup} without {', '.join(missing)}", "limits on these are refused")
    elif facts.cgroup == "v2":
        yield Judgment(OK, f"cgroup v2, driver {settings.cgroups.driver}", "every limit can be set")
    else:
        yield Judgment(
            WARN,
            f"cgroup {facts.cgroup}, driver {settings.cgroups.driver}",
            "v1 works, but Kubernetes is leaving it",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )


def filesystems(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    if facts.overlayfs:
        yield Judgment(OK, "overlayfs", "containers share their image's layers")
    else:
        yield Judgment(BAD, "no overlayfs", "containers have no root file system", "modprobe overlay")
    if facts.run_type == "tmpfs":
        yield Judgment(OK, f"{settings.run} is on tmpfs", "a boot begins with a clean slate")
    else:
        yield Judgment(
            WARN,
            f"{settings.run} is on {facts.run_type}",
            "files that must not outlive a boot would, and each pod costs disk writes",
            f"cribus down --pods; mount -t tmpfs tmpfs {settings.run}; cribus up",
        )


def firewall(facts: Facts, _: Settings) -> Iterator[Judgment]:
    if not facts.nftables_kernel:
        yield Judgment(BAD, "the kernel has no nftables", "no masquerading, no host ports", "modprobe nf_tables")
    elif not facts.nftables_library:
        yield Judgment(BAD, "libnftables is missing", "no masquerading, no host ports", "apt-get install libnftables1")
    else:
        yield Judgment(OK, "nftables", "masquerading and host ports work")


def seccomp(facts: Facts, _: Settings) -> Iterator[Judgment]:
    if not facts.seccomp_kernel:
        yield Judgment(BAD, "the kernel has no seccomp", "containers can make every system call")
    elif not facts.seccomp_library:
        yield Judgment(BAD, "libseccomp is missing", "profiles cannot be compiled", "apt-get install libseccomp2")
    else:
        yield Judgment(OK, "seccomp", "profiles are compiled and enforced")


def capabilities(facts: Facts, _: Settings) -> Iterator[Judgment]:
    missing = [name for name, bit in _NEEDED.items() if not facts.capabilities >> bit & 1]
    if missing:
        yield Judgment(BAD, f"{', '.join(missing)} missing", "containers cannot be made", "sudo cribus doctor")
    if not facts.capabilities >> _CAP_SYS_RESOURCE & 1:
        yield Judgment(
            WARN,
            "CAP_SYS_RESOURCE missing",
            "hard limits are not raised, and oom_score_adj does not go below the node's own",
            "grep CapBnd /proc/1/status",
        )
    elif not missing:
        yield Judgment(OK, "capabilities", "none that the node needs is missing")


def disk(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    fact = f"{size(facts.disk_free)} free at {settings.root}"
    if facts.disk_share < _LITTLE or facts.inode_share < _LITTLE:
        what = "inodes" if facts.inode_share < facts.disk_share else "space"
        yield Judgment(WARN, fact, f"little {what} is left: pulls will fail soon", "cribus rmi --all")
    else:
        yield Judgment(OK, fact, "enough for pulls")


def services(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    if facts.node:
        yield Judgment(BAD, "the services do not run", facts.node, "cribus up")
        return
    for one in facts.services:
        if one.state not in ("RUNNING", "STARTING"):
            log = f"{settings.root}/log/{one.name}.log"
            yield Judgment(BAD, f"{one.name} is {one.state.lower()}", "it ends as soon as it starts", f"tail {log}")
    running = [one.name for one in facts.services if one.state in ("RUNNING", "STARTING")]
    restarts = sum(one.restarts for one in facts.services)
    yield Judgment(
        OK, f"{len(running)} services run", f"restarted {restarts} times" if restarts else "none was restarted"
    )
    for name, count, at, why in facts.hangs:
        log = f"{settings.root}/log/{name}.log"
        times = "once" if count == 1 else f"{count} times"
        fact = f"{name} hung {times} and was replaced, last {age(at)} ago"
        yield Judgment(WARN, fact, why, f"tail {log}")
    if facts.gateway:
        yield Judgment(OK, f"CRI at unix://{settings.gateway.socket}", "somebody listens")
    else:
        log = f"{settings.root}/log/gateway.log"
        yield Judgment(BAD, f"nobody listens at {settings.gateway.socket}", "crictl and kubelet fail", f"tail {log}")


def bus(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    where = settings.bus.url or settings.bus.listen
    if facts.bus.refused:
        yield Judgment(BAD, f"no bus at {where}", facts.bus.refused, "" if settings.bus.url else "cribus up")
    elif facts.bus.jetstream:
        yield Judgment(BAD, f"the bus at {where} has no JetStream", f"records cannot be kept ({facts.bus.jetstream})")
    else:
        fact = f"bus at {where} answers in {facts.bus.milliseconds:.1f} ms"
        yield Judgment(OK, fact, f"JetStream holds {size(facts.bus.records)}")


def network(facts: Facts, settings: Settings) -> Iterator[Judgment]:
    cni = facts.cni
    if not cni.path:
        net = settings.network
        yield Judgment(OK, f"built-in network {net.bridge} {net.subnet}", f"no list in {net.conf_dir}")
    elif cni.broken:
        yield Judgment(BAD, f"{cni.path} is not a CNI list", cni.broken, f"python3 -m json.tool {cni.path}")
    elif cni.missing:
        where = " or ".join(settings.network.bin_dirs)
        yield Judgment(
            BAD, f"{cni.path} wants {', '.join(cni.missing)}", f"no such plugin in {where}; pods get no network"
        )
    else:
        yield Judgment(OK, f"CNI {cni.path}", ", ".join(cni.plugins))


def checkpoints(facts: Facts, _: Settings) -> Iterator[Judgment]:
    known = facts.bus.criu
    if known is not None and known.missing:
        install = "" if known.version else "apt-get install criu"
        yield Judgment(WARN, "no checkpoints", known.missing, install)
    elif known is not None:
        yield Judgment(OK, f"criu {known.version}", "containers can be checkpointed and restored")
