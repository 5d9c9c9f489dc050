"""The same figures from the files of either cgroup version."""

import os
from pathlib import Path

from cribus.cgroups.v1 import V1
from cribus.cgroups.v2 import V2
from cribus.manager.metrics_read import read


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_v2(tmp_path: Path) -> None:
    write(
        tmp_path / "pod",
        cpu__stat="usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 5\nthrottled_usec 4000000\n",
        cpu__max="20000 100000\n",
        cpu__weight="50\n",
        memory__stat="file 7\nfile_mapped 8\nactive_file 9\nkernel 10\n",
        memory__peak="11\n",
        memory__events="max 12\n",
        pids__max="max\n",
    )
    values = read(V2("cgroupfs", "", str(tmp_path)), "/pod").values
    assert (values["cpu_user"], values["cpu_system"], values["cpu_usage"]) == (2, 1, 3)
    assert (values["cfs_periods"], values["cfs_throttled_time"]) == (5, 4)
    assert (values["spec_cpu_quota"], values["spec_cpu_period"], values["spec_cpu_shares"]) == (20000, 100000, 512)
    assert (values["memory_cache"], values["memory_kernel"], values["memory_max"]) == (7, 10, 11)
    assert (values["memory_failcnt"], values["threads_max"]) == (12, 0)


def test_v1(tmp_path: Path) -> None:
    mounts = {name: str(tmp_path / name) for name in ("cpu", "cpuacct", "memory", "pids")}
    write(tmp_path / "cpuacct" / "pod", cpuacct__usage="3000000000\n", cpuacct__stat="user 200\nsystem 100\n")
    write(tmp_path / "cpu" / "pod", cpu__cfs_period_us="100000\n", cpu__cfs_quota_us="-1\n", cpu__shares="1024\n")
    write(tmp_path / "cpu" / "pod", cpu__stat="nr_periods 5\nnr_throttled 2\nthrottled_time 4000000000\n")
    write(tmp_path / "memory" / "pod", memory__stat="total_cache 7\ntotal_mapped_file 8\n", memory__failcnt="12\n")
    write(tmp_path / "pids" / "pod", pids__max="100\n")
    values = read(V1("cgroupfs", "", mounts), "/pod").values
    hertz = os.sysconf("SC_CLK_TCK")
    assert (values["cpu_user"], values["cpu_system"], values["cpu_usage"]) == (200 // hertz, 100 // hertz, 3)
    assert (values["cfs_throttled"], values["cfs_throttled_time"]) == (2, 4)
    assert (values["spec_cpu_quota"], values["spec_cpu_shares"], values["threads_max"]) == (0, 1024, 100)
    assert (values["memory_cache"], values["memory_failcnt"]) == (7, 12)


def test_processes_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "pod", cgroup__procs=f"{os.getpid()}\n999999999\n")
    reading = read(V2("cgroupfs", "", str(tmp_path)), "/pod")
    assert reading.values["descriptors"] > 2
    assert reading.labelled["faults"][0][0] == ["pgfault", "container"]
