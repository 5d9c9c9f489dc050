"""What plugins see."""

from typing import Any, cast

from cribus.api.cri.container import CDIDevice, ContainerConfig, ContainerMetadata, LinuxContainerConfig
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata
from cribus.api.cri.security import LinuxContainerResources, LinuxContainerSecurityContext, SecurityProfile
from cribus.api.cri.values import ProfileType
from cribus.manager.nri import describe
from cribus.manager.nri import messages as m
from cribus.manager.records import Container, Sandbox, State
from cribus.oci.runtime_spec import Spec

POD = Sandbox(
    id="p",
    config=PodSandboxConfig(
        metadata=PodSandboxMetadata(name="web", uid="u", namespace="ns"),
        labels={"l": "1"},
        annotations={"a": "1"},
        linux=LinuxPodSandboxConfig(cgroup_parent="/kube", overhead=LinuxContainerResources(cpu_shares=2)),
    ),
    handler="h",
    namespaces={"net": "/n"},
    cgroup="/kube/p",
    pid=7,
    ips=["10.0.0.2"],
)
CONTAINER = Container(
    id="c",
    pod="p",
    state=State.RUNNING,
    config=ContainerConfig(
        metadata=ContainerMetadata(name="main"),
        image=ImageSpec(image="busybox:1"),
        labels={"l": "2"},
        annotations={"a": "2"},
        CDI_devices=[CDIDevice(name="v.com/c=d")],
        linux=LinuxContainerConfig(
            security_context=LinuxContainerSecurityContext(
                seccomp=SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref="/p.json")
            )
        ),
    ),
    image_id="sha256:1",
    image_ref="busybox@sha256:2",
    pid=9,
    created_at=1,
    started_at=2,
)
SPEC: dict[str, Any] = {
    "annotations": {"io.kubernetes.cri.container-name": "main", "dev.cribus.record": "{}"},
    "process": {
        "args": ["sh"],
        "env": ["A=1"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "oomScoreAdj": 0,
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}],
    },
    "mounts": [{"destination": "/", "type": "overlay", "source": "overlay", "options": ["ro"]}],
    "hooks": {"poststop": [{"path": "/h"}]},
    "linux": {
        "namespaces": [{"type": "mount"}],
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 438, "uid": 0}],
        "resources": {"cpu": {"shares": 5}, "devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 3}},
        "cgroupsPath": "/kube/p/c",
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
        "sysctl": {"net.x": "1"},
    },
}


def test_a_pod() -> None:
    told = describe.pod(POD)
    assert (told.id, told.name, told.uid, told.namespace) == ("p", "web", "u", "ns")
    assert (told.labels, told.annotations) == ({"l": "1"}, {"a": "1"})
    assert (told.runtime_handler, told.pid, told.ips) == ("h", 7, ["10.0.0.2"])
    assert told.linux is not None
    assert (told.linux.cgroup_parent, told.linux.cgroups_path) == ("/kube", "/kube/p")
    assert told.linux.namespaces == [m.Namespace(type="network", path="/n")]
    assert told.linux.pod_overhead is not None
    assert told.linux.pod_overhead.cpu == m.Cpu(shares=2)


def test_a_container() -> None:
    told = describe.container(CONTAINER, cast(Spec, SPEC))
    assert (told.id, told.pod_sandbox_id, told.name, told.state, told.pid) == ("c", "p", "main", 3, 9)
    assert (told.created_at, told.started_at) == (1, 2)
    assert told.annotations == {"io.kubernetes.cri.container-name": "main", "a": "2"}
    assert (told.args, told.env) == (["sh"], ["A=1"])
    assert told.mounts == [m.Mount(destination="/", type="overlay", source="overlay", options=["ro"])]
    assert told.hooks == m.Hooks(poststop=[m.Hook(path="/h")])
    assert told.rlimits == [m.Rlimit(type="RLIMIT_CPU", soft=1, hard=2)]
    assert told.user == m.User(uid=5, gid=6, additionalGids=[7])
    assert told.image == m.Image(name="busybox:1", digest="sha256:2", config_digest="sha256:1")
    assert told.cdi_devices == [m.CDIDevice(name="v.com/c=d")]


def test_the_linux_of_a_container() -> None:
    linux = describe.container(CONTAINER, cast(Spec, SPEC)).linux
    assert linux is not None
    assert linux.devices == [m.Device(path="/dev/x", type="c", major=1, minor=2, fileMode=438, uid=0)]
    assert linux.resources == m.Resources(
        cpu=m.Cpu(shares=5), devices=[m.DeviceRule(access="rwm")], pids=m.Pids(limit=3)
    )
    assert (linux.oom_score_adj, linux.cgroups_path, linux.sysctl) == (0, "/kube/p/c", {"net.x": "1"})
    assert linux.seccomp_profile == m.SecurityProfile(profile_type=2, localhost_ref="/p.json")
    assert linux.seccomp_policy == m.Seccomp(defaultAction="SCMP_ACT_ERRNO")


def test_what_earlier_plugins_or_devices_made_of_it() -> None:
    spec = {
        "process": {
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
            "scheduler": {"policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_RECLAIM"]},
        },
        "linux": {"netDevices": {"eth7": {"name": "net1"}, "eth8": {}}, "intelRdt": {"closID": "gold"}},
    }
    linux = describe.container(CONTAINER, cast(Spec, spec)).linux
    assert linux is not None
    assert linux.net_devices == {"eth7": m.NetDevice(name="net1"), "eth8": m.NetDevice()}
    assert linux.io_priority == m.IOPriority(kind=m.IO_CLASSES.index("IOPRIO_CLASS_BE"), priority=3)
    batch, reclaim = m.POLICIES.index("SCHED_BATCH"), m.SCHEDULER_FLAGS.index("SCHED_FLAG_RECLAIM")
    assert linux.scheduler == m.Scheduler(policy=batch, nice=4, flags=[reclaim])
    assert linux.rdt == m.Rdt(closID="gold")


def test_a_container_whose_traces_are_gone() -> None:
    over = Container(id="c", pod="p", state=State.EXITED, exit_code=3, reason="Error", finished_at=5)
    told = describe.container(over, {})
    assert (told.state, told.exit_code, told.status_reason, told.finished_at) == (4, 3, "Error", 5)
    assert told.args == []
