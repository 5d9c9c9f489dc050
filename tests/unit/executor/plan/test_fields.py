"""No property of the runtime-spec is left out without a word.

Every property that oci/runtime_spec.py has is in one of the documents below, and what is made of the document
without it is another: other steps, other limits, another refusal or another warning.
"""

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints, is_typeddict

import pytest
from cribus.cgroups import control, devices
from cribus.cgroups.tree import Tree
from cribus.cgroups.v1 import V1
from cribus.cgroups.v2 import V2
from cribus.errors import CribusError
from cribus.executor.plan import build, fields, hooks, scheduling
from cribus.executor.plan.devices import allowed
from cribus.executor.plan.host import Host
from cribus.oci.runtime_spec import Spec
from cribus.oci.validate import HOOKS

MAP = [{"containerID": 0, "hostID": 1000, "size": 10}]
SHIFTED = [{"containerID": 1, "hostID": 2000, "size": 20}]
HOST = Host(capabilities=(1 << 41) - 1, selinux=True, apparmor=True)
RATE = [{"major": 8, "minor": 1, "rate": 1000}]
HOOK = [{"path": "/h", "args": ["h", "x"], "env": ["A=b"], "timeout": 7}]
RESOURCES: dict[str, Any] = {
    "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}],
    "memory": {
        "limit": 100, "reservation": 50, "swap": 200, "kernel": 7, "kernelTCP": 8, "swappiness": 3,
        "disableOOMKiller": True, "useHierarchy": False, "checkBeforeUpdate": True,
    },
    "cpu": {
        "shares": 99, "quota": 1000, "burst": 10, "period": 5000, "realtimeRuntime": 3, "realtimePeriod": 4,
        "cpus": "0", "mems": "0", "idle": 0,
    },
    "pids": {"limit": 9},
    "blockIO": {
        "weight": 20, "leafWeight": 30,
        "weightDevice": [{"major": 8, "minor": 1, "weight": 20, "leafWeight": 30}],
        "throttleReadBpsDevice": RATE, "throttleWriteBpsDevice": RATE,
        "throttleReadIOPSDevice": RATE, "throttleWriteIOPSDevice": RATE,
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
    "network": {"classID": 5, "priorities": [{"name": "lo", "priority": 3}]},
    "rdma": {"mlx0": {"hcaHandles": 3, "hcaObjects": 4}},
}  # fmt: skip
SECCOMP: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 5,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "listenerPath": "/s",
    "listenerMetadata": "x",
    "syscalls": [
        {
            "names": ["dup2"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 7,
            "args": [{"index": 1, "value": 4, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ],
}
FULL: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "layers", "readonly": True},
    "process": {
        "terminal": True,
        "consoleSize": {"height": 3, "width": 4},
        "user": {"uid": 1, "gid": 2, "umask": 7, "additionalGids": [3]},
        "args": ["a"],
        "env": ["A=b"],
        "cwd": "/c",
        "capabilities": {
            kind: ["CAP_KILL"] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}],
        "noNewPrivileges": True,
        "apparmorProfile": "p",
        "oomScoreAdj": 5,
        "selinuxLabel": "l",
        "scheduler": {
            "policy": "SCHED_DEADLINE", "nice": 3, "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1, "deadline": 2, "period": 3,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
        "execCPUAffinity": {"initial": "1", "final": "2"},
    },
    "hostname": "h",
    "domainname": "d",
    "mounts": [
        {"destination": "/dev", "type": "tmpfs", "source": "dev", "options": ["ro"]},
        {
            "destination": "/v", "type": "bind", "source": "/s", "options": ["ro"],
            "uidMappings": SHIFTED, "gidMappings": SHIFTED,
        },
    ],
    "hooks": dict.fromkeys(HOOKS, HOOK),
    "annotations": {"a": "b"},
    "linux": {
        "namespaces": [
            {"type": "mount"}, {"type": "time"}, {"type": "ipc"}, {"type": "network", "path": "/n"},
            {"type": "user", "path": "/u"},
        ],
        "uidMappings": MAP,
        "gidMappings": MAP,
        "devices": [
            {"type": "c", "path": "/dev/d", "major": 9, "minor": 8, "fileMode": 0o600, "uid": 1, "gid": 1}
        ],
        "cgroupsPath": "/a/b",
        "resources": RESOURCES,
        "rootfsPropagation": "shared",
        "seccomp": SECCOMP,
        "sysctl": {"net.core.somaxconn": "5"},
        "maskedPaths": ["/m"],
        "readonlyPaths": ["/r"],
        "mountLabel": "l",
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "netDevices": {"eth0": {"name": "e"}},
        "personality": {"domain": "LINUX32"},
        "timeOffsets": {"boottime": {"secs": 1, "nanosecs": 2}},
    },
}  # fmt: skip


def changed(place: str, value: Any) -> dict[str, Any]:
    """FULL with another value somewhere."""
    made: dict[str, Any] = copy.deepcopy(FULL)
    *above, name = place.split(".")
    inner = made
    for one in above:
        inner = inner[one]
    inner[name] = value
    return made


DOCUMENTS = [
    FULL,
    changed("process.scheduler", {"policy": "SCHED_FIFO", "priority": 3}),
    changed("process.scheduler", {"policy": "SCHED_BATCH", "nice": 3}),
    changed("linux.resources", {**RESOURCES, "unified": {"memory.high": "5"}}),
    changed("linux.resources", {**RESOURCES, "memory": {"limit": 60, "checkBeforeUpdate": True}}),
    changed("linux.personality", {"domain": "LINUX", "flags": ["x"]}),
]
# Whole objects that are refused: what is in them makes no difference.
REFUSED = {
    "linux.intelRdt": {
        "closID": "c", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=5",
        "enableMonitoring": True,
    }
}  # fmt: skip
# Where a version of cgroups has it without being told.
ALREADY = {(1, "linux.resources.memory.checkBeforeUpdate")}  # the kernel refuses what is below what is in use


properties = functools.cache(get_type_hints)


class Property(NamedTuple):
    place: str  # as the runtime-spec names it
    path: tuple[Any, ...]  # in the document


def every(kind: Any = Spec, place: str = "") -> Iterator[str]:
    """The places of all properties of the runtime-spec."""
    for name, inner in properties(kind).items():
        at = f"{place}.{name}" if place else name
        yield at
        for one in (inner, *get_args(inner)[-1:]):
            if is_typeddict(one):
                yield from every(one, at)


def given(value: Any, kind: Any = Spec, place: str = "", path: tuple[Any, ...] = ()) -> Iterator[Property]:
    """Those that a document has."""
    if is_typeddict(kind):
        for name, inner in properties(kind).items():
            if name in value:
                at = f"{place}.{name}" if place else name
                yield Property(at, (*path, name))
                yield from given(value[name], inner, at, (*path, name))
    elif (inner := get_args(kind)[-1:]) and is_typeddict(inner[0]):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from given(value[key], inner[0], place, (*path, key))


def without(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(document)
    inner: Any = made
    for one in path[:-1]:
        inner = inner[one]
    del inner[path[-1]]
    return made


class Paper:
    """Cgroups of plain files; what would be written is noted."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noted: list[Any] = []
        for name in ("blkio.leaf_weight", "blkio.leaf_weight_device", "memory.memsw.limit_in_bytes", "memory.swap.max"):
            (base / name).touch()
        (base / "memory.current").write_text("70")
        monkeypatch.setattr(control, "write_all", self.noted.extend)
        monkeypatch.setattr(devices, "attach", lambda directory, rules: self.noted.append(rules))
        kinds = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "rdma", "net_cls", "net_prio", "devices"]
        self.trees: list[Tree] = [V1("cgroupfs", "r", dict.fromkeys(kinds, str(base))), V2("cgroupfs", "r", str(base))]

    def limits(self, tree: Tree, resources: dict[str, Any]) -> list[Any]:
        self.noted.clear()
        try:
            tree.apply("", {**resources, "devices": allowed(resources.get("devices") or [], terminal=False)})
        except CribusError as refused:
            return [refused.message]
        except KeyError as missing:  # of a part that the runtime-spec requires
            return [str(missing)]
        return [*self.noted, *tree.ignored("", resources)]


def planned(spec: dict[str, Any]) -> list[Any]:
    """What is made of a document beside its limits."""
    place = build.Place("/run/c", "/pod/c", [])
    try:
        kinds = (*hooks.BEFORE, *hooks.INSIDE, *hooks.later(spec))
        made = build.build(spec, place, HOST)
        more = [hooks.of(spec, *kinds), hooks.base(spec, "c", "/run/c"), build.net_devices(spec)]
        return [made, *more, scheduling.affinity(spec.get("process") or {})]
    except CribusError as refused:
        return [refused.message]
    except KeyError as missing:
        return [str(missing)]


def told(whole: list[Any], place: str) -> bool:
    """Whether something that the property is in is ignored as a whole."""
    texts = [text.split(" is ignored")[0] for text in whole if isinstance(text, str)]
    return any(place.startswith(f"{text}.") for text in texts)


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paper:
    return Paper(tmp_path, monkeypatch)


def test_every_property_has_an_effect_or_is_told(paper: Paper) -> None:
    wanted = {place for place in every() if not place.startswith((*REFUSED, "linux.resources."))}
    seen = set[str]()
    for document in DOCUMENTS:
        whole = planned(document)
        assert isinstance(whole[0], build.Plan) or "personality.flags" in whole[0], whole
        for one in given(document):
            if one.place in wanted - seen and planned(without(document, one.path)) != whole:
                seen.add(one.place)
    tree = paper.trees[0]
    assert tree.spec_path("/a/b", "c") != tree.spec_path("", "c")
    assert wanted - seen == {"linux.cgroupsPath", "linux.resources"}


@pytest.mark.parametrize("version", [1, 2])
def test_every_limit_has_an_effect_or_is_told(version: int, paper: Paper) -> None:
    tree = paper.trees[version - 1]
    wanted = {place for place in every() if place.startswith("linux.resources.")}
    seen = {place for having, place in ALREADY if having == version}
    for document in DOCUMENTS:
        whole = paper.limits(tree, document["linux"]["resources"])
        for one in given(document):
            if one.place in wanted - seen:
                rest = without(document, one.path)["linux"]["resources"]
                if paper.limits(tree, rest) != whole or told(whole, one.place):
                    seen.add(one.place)
    assert wanted - seen == set()


def test_what_is_refused_is_named() -> None:
    for place, value in REFUSED.items():
        assert set(value) == {one.rpartition(".")[2] for one in every() if one.startswith(f"{place}.")}
        assert str(planned(changed(place, value))[0]).startswith(place)


def test_what_is_no_property_is_told() -> None:
    spec: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "windows": {"layerFolders": ["x"]},
        "solaris": {},
        "process": {"commandLine": "x", "user": {"username": "y"}, "rlimits": [{"kind": 1}]},
        "linux": {"resources": {"rdma": {"m": {"hca": 1}}, "memory": {"limits": 5}}, "cgroupPath": "/x"},
        "mounts": "not a list",
        "annotations": {"any": "thing"},
    }
    assert [text.split()[0] for text in fields.unknown(spec)] == [
        "windows", "process.commandLine", "process.user.username", "process.rlimits[0].kind",
        "linux.resources.rdma.m.hca", "linux.resources.memory.limits", "linux.cgroupPath",
    ]  # fmt: skip


def test_properties_of_a_unit_are_systemds() -> None:
    document = {"annotations": {"org.systemd.property.KillSignal": "37", "other": "x"}}
    assert fields.of_unit(document, "cgroupfs") == fields.of_unit({"annotations": None}, "systemd") == []
    (told,) = fields.of_unit(document, "systemd")
    assert "org.systemd.property.KillSignal is ignored" in told


def test_a_usual_document_is_told_nothing_of() -> None:
    assert fields.unknown(FULL) == []
