from cribus.executor.plan import host

_LINES = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_hierarchies_and_links() -> None:
    found, links = host.hierarchies(_LINES)
    assert found == [
        ("cpu,cpuacct", "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
        ("memory", "memory", "/sys/fs/cgroup/memory"),
        ("systemd", "name=systemd", "/sys/fs/cgroup/systemd"),
    ]
    assert links == [("cpu", "cpu,cpuacct"), ("cpuacct", "cpu,cpuacct")]


def test_own_network() -> None:
    assert host.own_network("/proc/self/ns/net")
    assert not host.own_network("/proc/self/ns/ipc")
    assert not host.own_network("/none")


def test_this_host() -> None:
    assert host.look().capabilities > 0
