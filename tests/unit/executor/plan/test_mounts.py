from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.plan import mounts
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner
from cribus.linux import mount

NONE = mounts.Cgroups(False, "/pod/ctr")
MAP = [{"containerID": 0, "hostID": 1000, "size": 10}]
OTHER = [{"containerID": 0, "hostID": 2000, "size": 10}]


def around(cgroups: mounts.Cgroups = NONE, host: Host | None = None, label: str = "", **linux: Any) -> mounts.Around:
    return mounts.Around(host or Host(), cgroups, Owner(linux), label)


def bind(*options: str, given: mounts.Around | None = None, **more: Any) -> dict[str, Any]:
    one = {"destination": "/in", "type": "bind", "source": "/out", "options": list(options), **more}
    (step,) = mounts.steps(one, given or around())
    assert step[:3] == ["bind", "/out", "/in"]
    how: dict[str, Any] = step[3]
    return how


def test_options_become_flags_and_data() -> None:
    one = {"destination": "tmp", "type": "ramfs", "options": ["nosuid", "ro", "rw", "size=1m", "mode=700", "silent"]}
    assert mounts.steps(one, around()) == [
        ["filesystem", "ramfs", "/tmp", ["ramfs", mount.MS_NOSUID | mount.MS_SILENT, "size=1m,mode=700"]]
    ]


def test_propagation_and_deep_attributes_are_not_for_binds_alone() -> None:
    one = {"destination": "/x", "type": "tmpfs", "options": ["rnosuid", "rrw", "rshared", "unbindable"]}
    made = mounts.steps(one, around())[1:]
    pairs = [[mount.MS_SHARED, True], [mount.MS_UNBINDABLE, False]]
    assert made == [["alter", "/x", [mount.MOUNT_ATTR_NOSUID, mount.MOUNT_ATTR_RDONLY], pairs]]
    cgroup = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rprivate"]}
    assert mounts.steps(cgroup, around(host=Host()))[-1][0] == "alter"


def test_what_is_read_only_at_last() -> None:
    one = {"destination": "/x/", "type": "tmpfs", "options": ["ro", "nodev"]}
    assert mounts.late(one)
    assert mounts.steps(one, around())[0][3][1] == mount.MS_NODEV
    assert mounts.late({**one, "type": "devtmpfs", "destination": "/dev/"})
    assert not mounts.late({**one, "type": "proc"})
    assert not mounts.late({**one, "options": ["bind", "ro"]})
    assert mounts.steps({**one, "type": "proc"}, around())[0][3][1] == mount.MS_NODEV | mount.MS_RDONLY


def test_a_tmpfs_with_what_it_covers() -> None:
    one = {"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup", "mode=700"]}
    assert mounts.steps(one, around()) == [["copied_up", "tmpfs", "/x", ["tmpfs", 0, "mode=700"]]]
    assert mounts.ignored(one) == []
    assert ["tmpcopyup" in text for text in mounts.ignored({**one, "type": "ramfs"})] == [True]


def test_a_remount_changes_what_is_there() -> None:
    one = {"destination": "/x", "type": "proc", "options": ["remount", "ro"]}
    assert mounts.steps(one, around())[0][3][1] == mount.MS_REMOUNT | mount.MS_RDONLY
    bound = {**one, "source": "/y", "options": ["bind", "remount", "ro"]}
    flags = mount.MS_REMOUNT | mount.MS_RDONLY | mount.MS_BIND
    assert mounts.steps(bound, around()) == [["filesystem", "", "/x", ["/y", flags, ""]]]


@pytest.mark.parametrize("kind", ["tmpfs", "proc"])
def test_labels_of_selinux(kind: str) -> None:
    one = {"destination": "/x", "type": kind, "options": ["mode=700"] if kind == "tmpfs" else []}
    data = mounts.steps(one, around(label="a:b:c:s0:c1,c2"))[0][3][2]
    assert data == ('mode=700,context="a:b:c:s0:c1,c2"' if kind == "tmpfs" else "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("rbind", "ro"), {"recursive": True, "set": mount.MOUNT_ATTR_RDONLY, "deep": [0, 0]}),
        (("bind", "ro", "rw"), {"recursive": False, "set": 0, "clear": mount.MOUNT_ATTR_RDONLY}),
        (("rbind", "rro"), {"set": 0, "deep": [mount.MOUNT_ATTR_RDONLY, 0]}),
        (("rbind",), {"propagation": [[mount.MS_PRIVATE, True]]}),
        (("rbind", "rslave"), {"propagation": [[mount.MS_SLAVE, True]]}),
        (("rbind", "rshared"), {"propagation": [[mount.MS_SHARED, True]]}),
        (("bind", "noatime"), {"set": mount.MOUNT_ATTR_NOATIME, "clear": mount.MOUNT_ATTR__ATIME}),
    ],
)
def test_binds(options: tuple[str, ...], expected: dict[str, Any]) -> None:
    how = bind(*options)
    assert {key: how[key] for key in expected} == expected


@pytest.mark.parametrize("word", ["sync", "lazytime", "mand", "iversion", "dirsync"])
def test_what_a_bind_cannot_change_is_told(word: str) -> None:
    one = {"destination": "/in", "source": "/out", "options": ["rbind", word, "ro", "rprivate"]}
    assert mounts.ignored(one) == [f"mount /in: option {word} is ignored: a bind cannot have it"]
    assert bind("rbind", word) == bind("rbind")
    assert mounts.ignored({**one, "type": "tmpfs", "options": [word]}) == []


def test_a_bind_has_no_options_of_a_file_system() -> None:
    with pytest.raises(InvalidArgument, match=r"options as size=1m, exce; leave"):
        bind("rbind", "size=1m", "ro", "exce")


def test_mapped_binds() -> None:
    mine: dict[str, Any] = {"uidMappings": MAP, "gidMappings": MAP}
    assert bind("rbind")["mapped"] is None
    assert bind("rbind", given=around(**mine))["mapped"] is None
    assert bind("rbind", "idmap", given=around(**mine))["mapped"] == ["", "", False]
    assert bind("rbind", "ridmap", given=around(**mine), **mine)["mapped"] == ["", "", True]
    others: dict[str, Any] = {"uidMappings": OTHER, "gidMappings": MAP}
    nobody: dict[str, Any] = {}
    for pod in (nobody, mine):
        assert bind("bind", given=around(**pod), **others)["mapped"] == ["0 2000 10\n", "0 1000 10\n", False]
    with pytest.raises(InvalidArgument, match="ridmap needs uidMappings"):
        bind("ridmap")
    with pytest.raises(InvalidArgument, match="go together"):
        bind("bind", uidMappings=MAP)


def test_a_bind_over_dev() -> None:
    assert mounts.bound_devices([{"destination": "/dev/", "options": ["rbind"]}])
    assert not mounts.bound_devices([{"destination": "/dev", "type": "tmpfs"}, {"destination": "/a", "type": "bind"}])


def test_shared_binds_are_copied_early() -> None:
    one = {"destination": "/in", "type": "bind", "source": "/out", "options": ["rbind", "rshared"]}
    assert mounts.early([one]) == [["clone", "/out", True]]
    assert mounts.early([{**one, "options": ["rbind"]}]) == []
    assert mounts.early([{**one, "options": ["bind", "remount", "shared"]}]) == []
    assert [bind("rbind", word)["early"] for word in ("rshared", "shared", "rslave")] == [True, True, False]


def test_cgroups_by_version_and_namespace() -> None:
    one = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}
    own = mounts.Cgroups(True, "/p")
    assert mounts.steps(one, around(own))[0][:3] == ["filesystem", "cgroup2", "/sys/fs/cgroup"]
    assert mounts.steps(one, around())[0][:3] == ["bind", "/sys/fs/cgroup/pod/ctr", "/sys/fs/cgroup"]
    v1 = Host(hierarchies=[("memory", "memory", "/sys/fs/cgroup/memory")])
    assert mounts.steps(one, around(own, v1))[0][3]["mounts"] == [["memory", "memory", "/sys/fs/cgroup/memory/p"]]
    assert mounts.steps(one, around(host=v1))[0][3]["mounts"] == [["memory", "", "/sys/fs/cgroup/memory/pod/ctr"]]


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
    assert mounts.steps(one, around()) == [["filesystem", "overlay", "/v", [layers, [], on, 0]]]
    mine: dict[str, Any] = {"uidMappings": MAP, "gidMappings": MAP}
    mapped = mounts.steps({**one, **mine}, around(**mine))
    assert mapped == [["filesystem", "overlay", "/v", [layers, [0, 0], on, 0]]]
    for wrong in ({**one, **mine, "uidMappings": OTHER}, {**one, **mine, "type": "tmpfs"}):
        with pytest.raises(InvalidArgument, match="only a bind can be mapped"):
            mounts.steps(wrong, around(**mine))
    other = {**one, "options": ["lowerdir=/a", "upperdir=/u", "workdir=/w"]}
    data = "lowerdir=/a,upperdir=/u,workdir=/w"
    assert mounts.steps(other, around()) == [["filesystem", "overlay", "/v", ["overlay", 0, data]]]


def test_what_cannot_be() -> None:
    with pytest.raises(InvalidArgument, match="absolute"):
        mounts.steps({"destination": "/in", "type": "bind", "source": "out"}, around())
    with pytest.raises(InvalidArgument, match="give a type"):
        mounts.steps({"destination": "/in", "source": "/out"}, around())
    with pytest.raises(InvalidArgument, match="rootfsPropagation"):
        mounts.propagation("sideways")
    assert mounts.propagation("rslave") == mount.MS_SLAVE | mount.MS_REC
