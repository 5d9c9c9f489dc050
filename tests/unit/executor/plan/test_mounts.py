from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.plan import mounts
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner
from cribus.linux import mount

NONE = mounts.Cgroups(False, "/pod/ctr")


def bind(*options: str) -> dict[str, Any]:
    one = {"destination": "/in", "type": "bind", "source": "/out", "options": list(options)}
    (step,) = mounts.steps(one, Host(), NONE)
    assert step[:3] == ["bind", "/out", "/in"]
    how: dict[str, Any] = step[3]
    return how


def test_options_become_flags_and_data() -> None:
    one = {"destination": "tmp", "type": "tmpfs", "options": ["nosuid", "ro", "rw", "size=1m", "mode=700"]}
    assert mounts.steps(one, Host(), NONE) == [
        ["filesystem", "tmpfs", "/tmp", ["tmpfs", mount.MS_NOSUID, "size=1m,mode=700"]]
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("rbind", "ro"), {"recursive": True, "set": mount.MOUNT_ATTR_RDONLY, "deep_set": 0}),
        (("bind", "ro", "rw"), {"recursive": False, "set": 0}),
        (("rbind", "rro"), {"set": 0, "deep_set": mount.MOUNT_ATTR_RDONLY}),
        (("rbind",), {"propagation": [[mount.MS_PRIVATE, True]]}),
        (("rbind", "rslave"), {"propagation": [[mount.MS_SLAVE, True]]}),
        (("rbind", "rshared"), {"propagation": []}),
        (("bind", "noatime"), {"set": mount.MOUNT_ATTR_NOATIME, "clear": mount.MOUNT_ATTR__ATIME}),
    ],
)
def test_binds(options: tuple[str, ...], expected: dict[str, Any]) -> None:
    how = bind(*options)
    assert {key: how[key] for key in expected} == expected


def test_shared_binds_are_copied_early() -> None:
    one = {"destination": "/in", "type": "bind", "source": "/out", "options": ["rbind", "rshared"]}
    assert mounts.early([one]) == [["clone", "/out", True]]
    assert mounts.early([{**one, "options": ["rbind"]}]) == []


def test_cgroups_by_version_and_namespace() -> None:
    one = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}
    own = mounts.Cgroups(True, "/p")
    assert mounts.steps(one, Host(), own)[0][:3] == ["filesystem", "cgroup2", "/sys/fs/cgroup"]
    assert mounts.steps(one, Host(), NONE)[0][:3] == ["bind", "/sys/fs/cgroup/pod/ctr", "/sys/fs/cgroup"]
    v1 = Host(hierarchies=[("memory", "memory", "/sys/fs/cgroup/memory")])
    assert mounts.steps(one, v1, own)[0][3]["mounts"] == [["memory", "memory", "/sys/fs/cgroup/memory/p"]]
    assert mounts.steps(one, v1, NONE)[0][3]["mounts"] == [["memory", "", "/sys/fs/cgroup/memory/pod/ctr"]]


def test_root() -> None:
    one = {"destination": "/", "type": "overlay", "options": ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w"]}
    expected = {"lowerdir": ["/a", "/b"], "upperdir": "/u", "workdir": "/w"}
    assert mounts.root(one, "/r", Owner({})) == ["overlay", "/r", expected, []]
    with pytest.raises(InvalidArgument, match="lowerdir"):
        mounts.overlay_options({"options": []})


def test_an_image_of_several_layers_is_no_matter_of_mount_2() -> None:
    one = {"destination": "/v", "type": "overlay", "options": ["ro", "noexec", r"lowerdir=/a\:b:/c\,d:/e\\"]}
    on = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOEXEC
    layers = {"lowerdir": ["/a:b", "/c,d", "/e\\"]}
    assert mounts.steps(one, Host(), NONE) == [["filesystem", "overlay", "/v", [layers, [], on, 0]]]
    mapped = {**one, "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}]}
    assert mounts.steps(mapped, Host(), NONE) == [["filesystem", "overlay", "/v", [layers, [0, 0], on, 0]]]
    other = {**one, "options": ["lowerdir=/a", "upperdir=/u", "workdir=/w"]}
    data = "lowerdir=/a,upperdir=/u,workdir=/w"
    assert mounts.steps(other, Host(), NONE) == [["filesystem", "overlay", "/v", ["overlay", 0, data]]]


def test_what_cannot_be() -> None:
    with pytest.raises(InvalidArgument, match="absolute"):
        mounts.steps({"destination": "/in", "type": "bind", "source": "out"}, Host(), NONE)
    with pytest.raises(InvalidArgument, match="give a type"):
        mounts.steps({"destination": "/in", "source": "/out"}, Host(), NONE)
    with pytest.raises(InvalidArgument, match="rootfsPropagation"):
        mounts.propagation("sideways")
    assert mounts.propagation("rslave") == mount.MS_SLAVE | mount.MS_REC
