from typing import Any

import pytest
from cribus.errors import FailedPrecondition, InvalidArgument, Unimplemented
from cribus.executor.plan import build
from cribus.executor.plan.host import Host
from cribus.linux import mount, namespaces

PLACE = build.Place("/run/c", "/pod/c", ["/sys/fs/cgroup/memory/pod/c/tasks"])


def spec(*kinds: tuple[str, str], **linux: Any) -> dict[str, Any]:
    return {
        "process": {"args": ["sh"]},
        "mounts": [
            {"destination": "/", "type": "overlay", "options": ["lowerdir=/l"]},
            {"destination": "/dev", "type": "tmpfs"},
        ],
        "linux": {"namespaces": [{"type": k, "path": p} for k, p in kinds], **linux},
    }


def test_order_of_steps() -> None:
    made = build.build(
        spec(("mount", ""), ("pid", ""), ("cgroup", ""), ("network", "/n"), ("ipc", ""), maskedPaths=["/m"]),
        PLACE,
        Host(),
    )
    assert made.flags == namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC
    assert [step[0] for step in made.init["join"]] == ["cgroups", "join", "unshare"]
    assert [step[0] for step in made.init["root"]] == ["propagation", "overlay", "filesystem", "devices", "pivot"]
    assert made.init["finish"] == [["mask", ["/m"], []]]


def test_a_pid_namespace_to_be_born_in() -> None:
    assert build.build(spec(("mount", ""), ("pid", "/p")), PLACE, Host()).pidns == "/p"


def test_a_plain_directory_as_root() -> None:
    given = {**spec(("mount", "")), "mounts": [], "root": {"path": "rootfs", "readonly": True}}
    made = build.build(given, PLACE, Host())
    assert made.init["root"][1] == ["bind_root", "/run/c/rootfs"]
    assert made.init["root"][-1] == ["pivot", 0, True]


def test_user_namespace_owns_what_is_new() -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    given = spec(("mount", ""), ("user", "/u"), uidMappings=mapping, gidMappings=mapping, rootfsPropagation="rshared")
    made = build.build(given, PLACE, Host())
    (tmpfs,) = [step for step in made.init["root"] if step[0] == "filesystem"]
    assert tmpfs[3][2] == "gid=1000,uid=1000"
    assert made.init["root"][-1][1] == mount.MS_SHARED | mount.MS_REC


def test_network_devices_are_given_while_init_halts() -> None:
    made = build.build(spec(("mount", ""), ("network", ""), netDevices={"eth7": {}}), PLACE, Host())
    assert ["halt"] in made.init["root"]
    assert made.init["hooks"]["state"]


def test_what_becomes_read_only_at_last() -> None:
    given = spec(("mount", ""), maskedPaths=["/m"])
    given["mounts"][1]["options"] = ["ro"]
    made = build.build(given, PLACE, Host())
    assert made.init["finish"] == [["seal", ["/dev"]], ["mask", ["/m"], []]]


def test_devices_where_dev_is_a_bind() -> None:
    given = spec(("mount", ""), devices=[{"type": "c", "path": "/dev/x", "major": 1, "minor": 2}])
    given["mounts"][1] = {"destination": "/dev", "source": "/dev", "options": ["rbind"]}
    made = build.build(given, PLACE, Host())
    assert "devices" not in [step[0] for step in made.init["root"]]
    assert made.warnings == ["linux.devices is ignored: /dev is a bind and has the devices of its source"]


def test_a_source_in_the_bundle() -> None:
    given = spec(("mount", ""))
    given["mounts"].append({"destination": "/x", "source": "./data/", "options": ["bind"]})
    (step,) = [step for step in build.build(given, PLACE, Host()).init["root"] if step[0] == "bind"]
    assert step[1:3] == ["/run/c/data", "/x"]


def test_a_joined_user_namespace_without_its_mappings() -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    for maps in ({}, {"uidMappings": mapping}):
        with pytest.raises(InvalidArgument, match=r"linux\.uidMappings, gidMappings"):
            build.build(spec(("mount", ""), ("user", "/u"), **maps), PLACE, Host())


def test_labels_of_mounts_need_selinux() -> None:
    given = spec(("mount", ""), mountLabel="a:b:c:s0")
    with pytest.raises(FailedPrecondition, match=r"linux\.mountLabel: this host has no SELinux"):
        build.build(given, PLACE, Host())
    made = build.build(given, PLACE, Host(selinux=True))
    assert ["filesystem", "tmpfs", "/dev", ["tmpfs", 0, 'context="a:b:c:s0"']] in made.init["root"]


def test_classes_of_a_cache_are_refused() -> None:
    for there, why in ((False, "has no resctrl"), (True, "does not set")):
        with pytest.raises(Unimplemented, match=why):
            build.build(spec(("mount", ""), intelRdt={"closID": "x"}), PLACE, Host(resctrl=there))


def test_clocks_of_its_own() -> None:
    made = build.build(spec(("mount", ""), ("time", ""), timeOffsets={"boottime": {"secs": 9}}), PLACE, Host())
    assert made.init["join"][-1] == ["clock", "boottime 9 0\n"]
    assert not made.flags & build.KINDS["time"]  # a child of clone3 could not set them any more
    joined = build.build(spec(("mount", ""), ("time", "/ns/time")), PLACE, Host())
    assert joined.init["join"][-1] == ["join", "/ns/time", build.KINDS["time"]]
    for kinds in ((("mount", ""),), (("mount", ""), ("time", "/ns/time"))):
        with pytest.raises(InvalidArgument, match="new time namespace"):
            build.build(spec(*kinds, timeOffsets={"monotonic": {"secs": 9}}), PLACE, Host())
    with pytest.raises(InvalidArgument, match="realtime"):
        build.build(spec(("mount", ""), ("time", ""), timeOffsets={"realtime": {"secs": 9}}), PLACE, Host())


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        ((("pid", ""),), Unimplemented),
        ((("mount", ""), ("user", "")), Unimplemented),
        ((("mont", ""),), InvalidArgument),
    ],
)
def test_what_cannot_be(kinds: tuple[tuple[str, str], ...], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        build.build(spec(*kinds), PLACE, Host())
