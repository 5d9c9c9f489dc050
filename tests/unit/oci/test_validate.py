"""Each refusal names the place that is wrong."""

import copy
from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.oci.validate import validate, validate_process

GOOD: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"], "env": ["A=1"], "user": {"uid": 0, "gid": 0}},
    "hostname": "h",
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "pid", "path": "/proc/1/ns/pid"}]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    where = spec
    for name in parents:
        where = where.setdefault(name, {})
    where[last] = value
    return spec


def test_a_good_document_passes() -> None:
    validate(GOOD)
    validate_process(GOOD["process"])
    validate({name: value for name, value in GOOD.items() if name != "process"})


NETWORK = {"type": "network"}
WRONG = {
    "ociVersion '2.0.0'": changed("ociVersion", "2.0.0"),
    "ociVersion is missing": changed("ociVersion", None),
    "root is missing": changed("root", None),
    "root.path is empty": changed("root.path", ""),
    "process.cwd 'tmp' is not an absolute": changed("process.cwd", "tmp"),
    "process.args is empty": changed("process.args", []),
    "process.args must be a list of strings": changed("process.args", "sh"),
    "is not NAME=value": changed("process.env", ["A"]),
    "process.user.uid must be a number": changed("process.user.uid", -1),
    "does not begin with CAP_": changed("process.capabilities", {"bounding": ["KILL"]}),
    "must be inheritable too": changed("process.capabilities", {"ambient": ["CAP_KILL"]}),
    "above its hard limit": changed("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]),
    "limited twice": changed("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2),
    "mounts[0] has no destination": changed("mounts", [{"destination": ""}]),
    "go together": changed("mounts", [{"destination": "/a", "uidMappings": [{}]}]),
    "there is no namespace 'net'": changed("linux.namespaces", [{"type": "net"}]),
    "appears twice": changed("linux.namespaces", [{"type": "pid"}, {"type": "pid"}]),
    "is not absolute": changed("linux.namespaces", [{"type": "pid", "path": "ns/pid"}]),
    "hostname needs a uts namespace": changed("linux.namespaces", [{"type": "mount"}]),
    "needs linux.uidMappings": changed("linux.namespaces", [{"type": "user"}, {"type": "uts"}]),
    "but no user namespace": changed("linux.uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}]),
    "size 0 maps nothing": changed("linux.uidMappings", [{"containerID": 0, "hostID": 1, "size": 0}]),
    "linux.rootfsPropagation": changed("linux.rootfsPropagation", "sideways"),
    "device type 'x'": changed("linux.devices", [{"type": "x", "path": "/dev/x"}]),
    "needs a network namespace": changed("linux.netDevices", {"eth7": {}}),
    "'a/b' is no name of a network": changed("linux", {"namespaces": [NETWORK], "netDevices": {"a/b": {}}}),
    "'..' is no name of a network": changed("linux", {"namespaces": [NETWORK], "netDevices": {"a": {"name": ".."}}}),
    "hooks.prestart[0]": changed("hooks", {"prestart": [{"path": "hook"}]}),
    "hooks.poststop[0]: timeout 0": changed("hooks", {"poststop": [{"path": "/hook", "timeout": 0}]}),
    "hooks.poststart[0].env": changed("hooks", {"poststart": [{"path": "/hook", "env": [1]}]}),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_document_is_refused(sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(WRONG[sentence])
    assert sentence in caught.value.message


def test_a_sysctl_of_the_host_is_refused() -> None:
    spec = changed("linux", {"namespaces": [{"type": "mount"}], "sysctl": {"kernel.shmmax": "1"}})
    del spec["hostname"]
    with pytest.raises(InvalidArgument, match="would change the host"):
        validate(spec)


def test_no_document_at_all() -> None:
    with pytest.raises(InvalidArgument, match=r"config\.json must be an object"):
        validate([])
