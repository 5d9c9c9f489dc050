"""The runtime-spec that CRI's words and an image give."""

from typing import Any

import msgspec
import pytest
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import LinuxPodSandboxConfig
from cribus.api.cri.security import (
    IDMapping,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    NamespaceOption,
    SecurityProfile,
    UserNamespace,
)
from cribus.api.cri.values import NamespaceMode, ProfileType
from cribus.api.images import Prepared
from cribus.errors import InvalidArgument
from cribus.manager import host, spec_build
from cribus.manager.host import Host
from cribus.manager.records import Sandbox
from cribus.manager.wanted import Sources, Wanted
from cribus.oci.validate import validate

from tests.unit.manager.conftest import container_config, pod_config

IMAGE: dict[str, Any] = {
    "Env": ["PATH=/image/bin", "A=image", "B=image"],
    "Entrypoint": ["/entry"],
    "Cmd": ["cmd"],
    "User": "user",
    "WorkingDir": "/work",
}
POD = Sandbox(
    id="p" * 64,
    config=pod_config("web"),
    cgroup="/cribus/pod",
    namespaces={kind: f"/run/pods/p/ns/{kind}" for kind in ("net", "uts", "ipc", "pid")},
)


def wanted(context: LinuxContainerSecurityContext | None = None, **more: Any) -> Wanted:
    """A container of the image above; `more` are fields of Wanted or of the configuration."""
    outer = {name: more.pop(name) for name in list(more) if name in Wanted.__struct_fields__ and name != "config"}
    resources = more.pop("resources", None)
    linux = c.LinuxContainerConfig(security_context=context, resources=resources)
    known = {
        "id": "c" * 64,
        "pod": POD,
        "prepared": Prepared(
            lower=["/l/2", "/l/1"],
            upper="/u",
            work="/w",
            config=IMAGE,
            passwd=b"user:x:1000:1001::/home/user:/bin/sh\n",
            group=b"extra:x:50000:user\n",
        ),
        "cgroups_path": "/cribus/pod/c",
    }
    return Wanted(**{**known, **outer}, config=container_config("main", linux=linux, **more))


def built(context: LinuxContainerSecurityContext | None = None, **more: Any) -> Any:
    one = wanted(context, **more)
    spec = spec_build.build(one, spec_build.identity(one))
    validate(spec)
    return msgspec.json.decode(msgspec.json.encode(spec))


def test_the_image_alone() -> None:
    spec = built()
    process = spec["process"]
    assert process["args"] == ["/entry", "cmd"]
    assert process["cwd"] == "/work"
    assert process["user"] == {"uid": 1000, "gid": 1001, "additionalGids": [1001, 50000]}
    assert process["env"] == ["PATH=/image/bin", "HOSTNAME=node", "A=image", "B=image"]
    assert not process["terminal"]
    assert not process["noNewPrivileges"]
    assert spec["root"] == {"path": "rootfs", "readonly": False}
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["/entry", "cmd"]),
        ({"args": ["a"]}, ["/entry", "a"]),
        ({"command": ["c"]}, ["c"]),
        ({"command": ["c"], "args": ["a"]}, ["c", "a"]),
    ],
)
def test_command_and_args(given: dict[str, Any], expected: list[str]) -> None:
    assert built(**given)["process"]["args"] == expected


def test_nothing_to_run() -> None:
    with pytest.raises(InvalidArgument, match="nothing to run"):
        spec_build.args(c.ContainerConfig(), [], [])
    assert spec_build.args(c.ContainerConfig(), [""], ["sh"]) == ["sh"]


def test_environment_of_the_configuration_wins() -> None:
    envs = [c.KeyValue(key="A", value=b"config"), c.KeyValue(key="C", value=b"\xff")]
    environment = spec_build.environment(wanted(envs=envs, tty=True))
    assert environment == ["PATH=/image/bin", "TERM=xterm", "HOSTNAME=node", "A=config", "B=image", "C=\udcff"]


def test_annotations_are_containerds() -> None:
    image = ImageSpec(image="sha256:1", user_specified_image="docker.io/busybox")
    annotations = built(image=image)["annotations"]
    assert annotations == {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.image-name": "docker.io/busybox",
        "io.kubernetes.cri.sandbox-id": POD.id,
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "default",
        "io.kubernetes.cri.sandbox-uid": "uid-web",
    }


def test_standard_input_is_kept_only_when_asked_for() -> None:
    assert built(stdin=True)["annotations"]["dev.cribus.stdin"] == "true"
    assert "dev.cribus.stdin" not in built()["annotations"]


def test_privileged_may_everything() -> None:
    console = {"type": "c", "path": "/dev/console", "major": 5, "minor": 1}
    spec = built(LinuxContainerSecurityContext(privileged=True), sources=Sources(host_devices=[console]))  # type: ignore[list-item]
    linux = spec["linux"]
    assert spec["process"]["capabilities"]["bounding"] == host.CAPABILITIES
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == ([], [])
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert linux["devices"] == [console]
    assert "seccomp" not in linux
    assert {"type": "cgroup"} not in linux["namespaces"]


def test_devices_are_allowed_one_by_one() -> None:
    fuse = {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}
    linux = built(sources=Sources(devices=[fuse], device_access=["rw"]))["linux"]  # type: ignore[list-item]
    assert linux["devices"] == [fuse]
    assert linux["resources"]["devices"][1] == {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}


def test_security_fields() -> None:
    spec = built(
        LinuxContainerSecurityContext(
            readonly_rootfs=True,
            no_new_privs=True,
            masked_paths=["/bin/ls"],
            seccomp=SecurityProfile(profile_type=ProfileType.RuntimeDefault),
        ),
        resources=LinuxContainerResources(memory_limit_in_bytes=1 << 20, oom_score_adj=500),
    )
    assert spec["root"]["readonly"]
    assert spec["process"]["noNewPrivileges"]
    assert spec["process"]["oomScoreAdj"] == 500
    assert spec["linux"]["maskedPaths"] == ["/bin/ls"]
    assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert spec["linux"]["resources"]["memory"] == {"limit": 1 << 20, "swap": 1 << 20}


def test_user_namespace() -> None:
    mapping = [IDMapping(container_id=0, host_id=1000, length=65536)]
    options = NamespaceOption(userns_options=UserNamespace(uids=mapping, gids=mapping))
    config = pod_config(
        "web", linux=LinuxPodSandboxConfig(security_context=LinuxSandboxSecurityContext(namespace_options=options))
    )
    pod = msgspec.structs.replace(POD, config=config, namespaces={**POD.namespaces, "user": "/run/pods/p/ns/user"})
    linux = built(LinuxContainerSecurityContext(namespace_options=options), pod=pod)["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 65536}]
    assert {"type": "user", "path": "/run/pods/p/ns/user"} in linux["namespaces"]


def test_the_floor_of_the_oom_score() -> None:
    spec = built(host=Host(oom_score_floor=0), resources=LinuxContainerResources(oom_score_adj=-900))
    assert spec["process"]["oomScoreAdj"] == 0


def test_a_new_pid_namespace() -> None:
    context = LinuxContainerSecurityContext(namespace_options=NamespaceOption(pid=NamespaceMode.CONTAINER))
    assert {"type": "pid"} in built(context)["linux"]["namespaces"]
