"""Adjustments in the runtime-spec."""

from typing import Any, cast

import pytest
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.adjust import adjusted
from cribus.oci.runtime_spec import Spec

SPEC: dict[str, Any] = {
    "annotations": {"a": "1", "dev.cribus.stdin": "true"},
    "process": {"args": ["sh"], "env": ["A=1", "B=2"], "oomScoreAdj": 5},
    "mounts": [
        {"destination": "/", "type": "overlay"},
        {"destination": "/proc", "type": "proc"},
        {"destination": "/data/in", "source": "/x"},
    ],
    "linux": {
        "namespaces": [{"type": "network", "path": "/n"}, {"type": "mount"}],
        "devices": [{"path": "/dev/old", "type": "c", "major": 1, "minor": 1}],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "cgroupsPath": "/pod/c",
        "sysctl": {"net.old": "1"},
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
    },
}
Linux = m.LinuxContainerAdjustment


def made(**given: Any) -> dict[str, Any]:
    return cast(dict[str, Any], adjusted(cast(Spec, SPEC), m.ContainerAdjustment(**given)))


def of_linux(**given: Any) -> dict[str, Any]:
    return made(linux=Linux(**given))


def test_nothing_wanted_changes_nothing() -> None:
    assert made() == SPEC
    assert of_linux() == SPEC


def test_the_given_document_stays_as_it_is() -> None:
    made(annotations={"a": "2"}, linux=Linux(sysctl={"net.old": "2"}))
    assert SPEC["annotations"]["a"] == "1"
    assert SPEC["linux"]["sysctl"]["net.old"] == "1"


def test_annotations_environment_arguments() -> None:
    spec = made(
        annotations={"-a": "", "b": "2"},
        env=[m.KeyValue(key="-A"), m.KeyValue(key="B", value="x=y"), m.KeyValue(key="C", value="3")],
        args=["top", "-b"],
    )
    assert spec["annotations"] == {"b": "2", "dev.cribus.stdin": "true"}
    assert spec["process"]["env"] == ["B=x=y", "C=3"]
    assert spec["process"]["args"] == ["top", "-b"]


@pytest.mark.parametrize("name", ["dev.cribus.stdin", "-dev.cribus.record"])
def test_the_runtimes_own_annotations_are_not_a_plugins(name: str) -> None:
    with pytest.raises(FailedPrecondition, match="the runtime's own"):
        made(annotations={name: "x"})


def test_mounts_are_replaced_removed_and_in_order() -> None:
    spec = made(
        mounts=[
            m.Mount(destination="-/data/in/"),
            m.Mount(destination="/data", type="bind", source="/y", options=["rbind", "rslave"]),
            m.Mount(destination="/a/b/c", type="tmpfs", source="tmpfs"),
        ]
    )
    assert [one["destination"] for one in spec["mounts"]] == ["/", "/proc", "/data", "/a/b/c"]
    assert spec["mounts"][2] == {
        "destination": "/data",
        "type": "bind",
        "source": "/y",
        "options": ["rbind", "rslave"],
    }
    assert spec["linux"]["rootfsPropagation"] == "rslave"


@pytest.mark.parametrize("path", ["/", "-/", "//"])
def test_the_root_is_not_a_plugins(path: str) -> None:
    with pytest.raises(FailedPrecondition, match="root"):
        made(mounts=[m.Mount(destination=path)])


def test_hooks_come_after_those_that_are_there() -> None:
    spec = made(hooks=m.Hooks(createRuntime=[m.Hook(path="/bin/a", args=["a", "b"], timeout=3)]))
    assert spec["hooks"] == {"createRuntime": [{"path": "/bin/a", "args": ["a", "b"], "timeout": 3}]}


def test_rlimits_replace_those_of_their_kind() -> None:
    limit = m.Rlimit(type="RLIMIT_CORE", hard=0, soft=0)
    assert made(rlimits=[limit])["process"]["rlimits"] == [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]


def test_devices_with_their_rules() -> None:
    linux = of_linux(devices=[m.Device(path="-/dev/old"), m.Device(path="/dev/new", type="b", major=7, fileMode=0o600)])
    assert linux["linux"]["devices"] == [{"path": "/dev/new", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600}]
    rule = {"allow": True, "type": "b", "major": 7, "minor": 0, "access": "rwm"}
    assert linux["linux"]["resources"]["devices"][1:] == [rule]


def test_namespaces_sysctls_cgroup_oom() -> None:
    spec = of_linux(
        namespaces=[m.Namespace(type="-network"), m.Namespace(type="ipc", path="/i")],
        sysctl={"-net.old": "", "net.new": "2"},
        net_devices={"eth5": m.NetDevice(name="net1")},
        cgroups_path="/elsewhere",
        oom_score_adj=0,
    )
    linux = spec["linux"]
    assert linux["namespaces"] == [{"type": "mount"}, {"type": "ipc", "path": "/i"}]
    assert linux["sysctl"] == {"net.new": "2"}
    assert linux["netDevices"] == {"eth5": {"name": "net1"}}
    assert (linux["cgroupsPath"], spec["process"]["oomScoreAdj"]) == ("/elsewhere", 0)


def test_a_seccomp_policy_replaces_the_one_that_is_there() -> None:
    policy = m.Seccomp(
        defaultAction="SCMP_ACT_ALLOW",
        syscalls=[
            m.Syscall(names=["mkdir"], action="SCMP_ACT_ERRNO", errnoRet=0, args=[m.SyscallArg(op="SCMP_CMP_EQ")])
        ],
    )
    arg = {"index": 0, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    assert of_linux(seccomp_policy=policy)["linux"]["seccomp"] == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "args": [arg]}],
    }


def test_scheduling() -> None:
    spec = of_linux(
        io_priority=m.IOPriority(kind=2, priority=3),
        scheduler=m.Scheduler(policy=4, nice=5, flags=[0]),
        memory_policy=m.MemoryPolicy(mode=2, nodes="0", flags=[0]),
    )
    assert spec["process"]["ioPriority"] == {"class": "IOPRIO_CLASS_BE", "priority": 3}
    assert spec["process"]["scheduler"]["policy"] == "SCHED_BATCH"
    assert spec["process"]["scheduler"]["flags"] == ["SCHED_FLAG_RESET_ON_FORK"]
    assert spec["process"]["scheduler"]["nice"] == 5
    assert spec["linux"]["memoryPolicy"] == {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}


def test_a_number_that_names_nothing_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="number 99"):
        of_linux(scheduler=m.Scheduler(policy=99))


def test_rdt() -> None:
    assert of_linux(resources=m.Resources(rdt_class="gold"))["linux"]["intelRdt"] == {"closID": "gold"}
    spec = of_linux(rdt=m.Rdt(closID="x", schemata=["L3:0=f"], enableMonitoring=False))
    assert spec["linux"]["intelRdt"] == {"closID": "x", "schemata": ["L3:0=f"], "enableMonitoring": False}
