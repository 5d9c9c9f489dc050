"""What came back, as the kernel tells it, before any of it runs. A checkpoint may ask for anything; what it got is
compared with what the request for the container allows, and with what a new container would have mounted.

Sources: proc(5); proc_pid_mountinfo(5).
"""

import os
import resource
import stat
from typing import Any, NamedTuple

from cribus.errors import FailedPrecondition
from cribus.executor.plan.build import namespaces_of
from cribus.linux import files, process

_POD = {"network": "net", "ipc": "ipc", "uts": "uts"}
_CALM = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_OPEN = ("pipe:[", "socket:[", "anon_inode:", "/memfd:")


class Found(NamedTuple):
    """The first process, and all that are in the container's cgroup."""

    init: int
    pids: list[int]


class Expected(NamedTuple):
    """What the request allows. `mountinfo` has the mounts of the `pattern`; those `outside` are the very same.
    `cgroup` is the container's, which is "/" to whoever reads mounts in its own namespace of cgroups."""

    mountinfo: str
    pattern: str
    spec: dict[str, Any]
    process: dict[str, Any]  # as plan/process.py has it
    outside: list[str]
    cgroup: str = ""


def check(found: Found, expected: Expected) -> None:
    """Raises FailedPrecondition with what is more than was asked for. Sets what is only a number."""
    everybody = found.pids
    if not {found.init, *_relatives(found.init)} <= set(everybody):
        raise _refused("has processes outside of the container's cgroup")
    mounted(files.read(f"/proc/{found.init}/mountinfo").decode(), expected)
    for pid in everybody:
        _namespaces(pid, found.init, expected.spec)
        _identity(pid, expected)
        _descriptors(pid)
        _numbers(pid, expected)


def _refused(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the checkpoint is not brought back: it {why}")


def _relatives(init: int) -> list[int]:
    """Everybody in its PID namespace."""
    own = os.readlink(f"/proc/{init}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == own:
                    found.append(int(name))
            except (FileNotFoundError, PermissionError):  # of one that has more than we could have given it
                continue
    return found


def mounted(mountinfo: str, expected: Expected) -> None:
    """The mounts are those of the pattern. Raises FailedPrecondition."""
    wanted = sorted(_mounts(expected.mountinfo, expected.pattern, expected))
    there = sorted(_mounts(mountinfo, "", expected))
    for one in there:
        if one not in wanted:
            raise _refused(f"has {one[1]} mounted at {one[0]} as {' '.join(one[2:])}, which the request has not")
    for one in wanted:
        if one not in there:
            raise _refused(f"lacks what the request has mounted at {one[0]}")
    if wanted != there:
        raise _refused("has something mounted more often than the request has")


def _mounts(mountinfo: str, below: str, expected: Expected) -> list[tuple[str, ...]]:
    """(place, type, options, part of the file system, its own options), below a directory that becomes "/"."""
    found: list[tuple[str, ...]] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, root, place, options = before.split(" ")[:6]
        kind, _, own = after.split(" ")[:3]
        if place == below or place.startswith(f"{below}/"):
            place = place[len(below) :] or "/"
            same = place == "/" or place in expected.outside
            if kind in ("cgroup", "cgroup2") and root == expected.cgroup:
                root = "/"
            found.append((place, kind, options, root, device if same else own))
    return found


def _namespaces(pid: int, init: int, spec: dict[str, Any]) -> None:
    wanted = namespaces_of(spec)
    for kind, name in _POD.items():
        path = wanted.get(kind) or f"/proc/self/ns/{name}"
        if not _same(f"/proc/{pid}/ns/{name}", path):
            raise _refused(f"is not in the pod's {kind} namespace")
    if not _same(f"/proc/{pid}/ns/user", "/proc/self/ns/user"):
        raise _refused("brings a user namespace of its own")
    for name in ("mnt", "pid", "cgroup", "time"):  # criu makes one for times, in which monotonic clocks go on
        if not _same(f"/proc/{pid}/ns/{name}", f"/proc/{init}/ns/{name}"):
            raise _refused(f"has a process in another {name} namespace")
    for name in ("mnt", "pid", *(["cgroup"] if "cgroup" in wanted else [])):
        if _same(f"/proc/{pid}/ns/{name}", f"/proc/self/ns/{name}"):
            raise _refused(f"is in the host's {name} namespace")
    if not _same(f"/proc/{pid}/root", f"/proc/{init}/root"):
        raise _refused("has a process with another root directory")


def _same(one: str, other: str) -> bool:
    return os.path.samestat(os.stat(one), os.stat(other))


def _status(pid: int, thread: str) -> dict[str, list[str]]:
    lines = files.read(f"/proc/{pid}/task/{thread}/status").decode().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def _profile(labels: list[list[str]]) -> str:
    """AppArmor's, of what is written before a program is executed; empty without one."""
    return next((text.removeprefix("exec ") for path, text in labels if "/apparmor/" in path), "")


def _confined(pid: int, thread: str) -> str:
    """`NAME (enforce)`, or `unconfined`."""
    return files.read(f"/proc/{pid}/task/{thread}/attr/apparmor/current").decode()


def _identity(pid: int, expected: Expected) -> None:
    """Every thread's user, capabilities and filters."""
    wanted, may = expected.process, expected.process["capabilities"]
    for thread in os.listdir(f"/proc/{pid}/task"):
        told = _status(pid, thread)
        users = {int(one) for one in told["Uid"]}
        if wanted["uid"] and users != {wanted["uid"]}:
            raise _refused(f"runs as user {min(users)}, the request wants {wanted['uid']}")
        for name in _SETS:
            more = int(told[name][0], 16) & ~(may["bounding"] & may["may"])
            if more:
                raise _refused(f"has capabilities ({name}: {more:x}) that the request does not give")
        if wanted["no_new_privs"] and told["NoNewPrivs"] != ["1"]:
            raise _refused("may gain privileges, which the request forbids")
        if wanted["seccomp"] and told["Seccomp"] != ["2"]:
            raise _refused("has a thread without the request's seccomp profile")
        if (profile := _profile(wanted["labels"])) and not _confined(pid, thread).startswith(f"{profile} ("):
            raise _refused("has a thread without the request's AppArmor profile")
        if told["State"][0] not in "Tt":
            raise _refused("has a process that runs already")
        if os.sched_getscheduler(int(thread)) & ~os.SCHED_RESET_ON_FORK not in _CALM:
            raise _refused("has a thread that is scheduled in real time")
        if os.getpriority(os.PRIO_PROCESS, int(thread)) < 0:
            os.setpriority(os.PRIO_PROCESS, int(thread), 0)


def _descriptors(pid: int) -> None:
    """Its open files are on its own mounts."""
    own = {line.split(" ", 1)[0] for line in files.read(f"/proc/{pid}/mountinfo").decode().splitlines()}
    for number in os.listdir(f"/proc/{pid}/fd"):
        name = os.readlink(f"/proc/{pid}/fd/{number}")
        about = files.read(f"/proc/{pid}/fdinfo/{number}").decode().splitlines()
        where = next((line.split()[1] for line in about if line.startswith("mnt_id:")), "")
        if where not in own and not name.startswith(_OPEN):
            raise _refused(f"has {name} open, which is not the container's")
        if stat.S_ISBLK(os.stat(f"/proc/{pid}/fd/{number}").st_mode):
            raise _refused(f"has the block device {name} open")


def _numbers(pid: int, expected: Expected) -> None:
    """Limits that the request sets, and how soon it is killed when memory is short."""
    for kind, soft, hard in expected.process["rlimits"]:
        have = resource.prlimit(pid, kind)
        if have[1] != hard:
            resource.prlimit(pid, kind, (min(soft, hard) if hard >= 0 else soft, hard))
    if expected.process["oom"] is not None:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(expected.process["oom"]))
    if process.state(pid) not in ("T", "t"):
        raise _refused("has a process that runs already")
