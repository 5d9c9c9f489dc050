import pytest
from cribus.cgroups.layout import Tree, hierarchies, open_tree
from cribus.errors import InvalidArgument

V1 = """25 20 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
26 20 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
27 20 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 20 0:25 / /elsewhere/memory rw - cgroup cgroup rw,memory
29 20 0:26 / / rw - ext4 /dev/sda rw"""
HYBRID = V1 + "\n30 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate"
V2 = "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"


def test_v1_controllers_may_share_a_mount_and_the_first_mount_counts() -> None:
    assert hierarchies(V1) == (
        {
            "cpu": "/sys/fs/cgroup/cpu,cpuacct",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
            "memory": "/sys/fs/cgroup/memory",
            "name=systemd": "/sys/fs/cgroup/systemd",
        },
        "",
    )


def test_hybrid_and_v2() -> None:
    assert hierarchies(HYBRID)[1] == "/sys/fs/cgroup/unified"
    assert hierarchies(V2) == ({}, "/sys/fs/cgroup")


def test_the_host_has_a_tree(tree: Tree) -> None:
    assert tree.version in (1, 2)


def test_an_unknown_driver_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cgroupfs or systemd"):
        open_tree(driver="docker")
