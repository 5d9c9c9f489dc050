from cribus.executor.criu import arguments

MOUNTINFO = """10 1 0:50 / / rw - overlay overlay rw
11 10 0:51 / /proc rw - proc proc rw
12 10 0:52 / /dev rw - tmpfs tmpfs rw
13 10 8:1 /var/data /data rw - ext4 /dev/sda rw
14 13 0:60 / /data/below rw - tmpfs tmpfs rw
15 13 0:61 / /data/own rw - tmpfs tmpfs rw
16 12 0:62 / /dev/shm rw - tmpfs shm rw
17 11 0:51 /sys /proc/sys ro - proc proc rw
18 11 0:52 /null /proc/keys rw - tmpfs tmpfs rw
19 10 0:30 /pod/box /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
"""
SPEC = {
    "mounts": [
        {"destination": "/", "type": "overlay"},
        {"destination": "/proc", "type": "proc"},
        {"destination": "/dev", "type": "tmpfs"},
        {"destination": "/data/", "type": "bind", "source": "/var/data"},
        {"destination": "/data/own", "type": "tmpfs"},
        {"destination": "/dev/shm", "type": "bind", "source": "/run/shm"},
    ]
}


def test_what_comes_from_outside() -> None:
    """Binds with what is below them, and parts of what the container has not as a whole; not what it made itself."""
    found = arguments.external(MOUNTINFO, SPEC)
    assert found == ["/data", "/data/below", "/dev/shm", "/sys/fs/cgroup/cpu"]


def test_dump() -> None:
    line = arguments.dump(arguments.Dump("/sbin/criu", 7, "/var/x", "/sys/fs/cgroup/a"), ["/data"])
    assert line[:6] == ["/sbin/criu", "dump", "--tree", "7", "--images-dir", "/var/x/checkpoint"]
    assert line[-2:] == ["--external", "mnt[/data]:/data"]
    assert "--leave-running" in line


def test_restore() -> None:
    what = arguments.Restore("/sbin/criu", "/x/checkpoint", "/work", "/work/rootfs", "/work/pid")
    line = arguments.restore(what, {"/data": "/work/pattern/data"}, {11: "pipe:[5]"})
    assert line[:4] == ["/sbin/criu", "restore", "--images-dir", "/x/checkpoint"]
    assert {"--restore-detached", "--restore-sibling", "--leave-stopped", "--manage-cgroups=ignore"} <= set(line)
    assert line[-4:] == ["--external", "mnt[/data]:/work/pattern/data", "--inherit-fd", "fd[11]:pipe:[5]"]
