"""Several plugins' answers become one, and contradictions are found."""

from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.collect import Creation, Updates
from cribus.manager.nri.owners import Owners

Linux = m.LinuxContainerAdjustment


def container() -> m.Container:
    return m.Container(
        id="c",
        annotations={"keep": "1", "drop": "1"},
        args=["sh"],
        env=["A=1", "B=x=y"],
        mounts=[m.Mount(destination="/data", source="/one")],
        rlimits=[m.Rlimit(type="RLIMIT_NOFILE", hard=1, soft=1)],
        linux=m.LinuxContainer(
            namespaces=[m.Namespace(type="network", path="/n")],
            devices=[m.Device(path="/dev/old", type="c")],
            resources=m.Resources(memory=m.Memory(limit=5, swap=6), cpu=m.Cpu(shares=2)),
        ),
    )


def take(creation: Creation, plugin: str, **given: Any) -> None:
    creation.take(plugin, m.CreateContainerResponse(adjust=m.ContainerAdjustment(**given)))


def linux(creation: Creation, plugin: str, **given: Any) -> None:
    take(creation, plugin, linux=Linux(**given))


def test_the_next_plugin_sees_what_the_last_one_left() -> None:
    one = Creation(container())
    take(
        one,
        "00-a",
        annotations={"new": "2", "-drop": ""},
        env=[m.KeyValue(key="A", value="2"), m.KeyValue(key="-B")],
        mounts=[m.Mount(destination="-/data"), m.Mount(destination="/more")],
        args=["top"],
        rlimits=[m.Rlimit(type="RLIMIT_NOFILE", hard=9, soft=9)],
    )
    seen = one.container
    assert seen.annotations == {"keep": "1", "new": "2"}
    assert seen.env == ["A=2"]
    assert [one.destination for one in seen.mounts] == ["/more"]
    assert seen.args == ["top"]
    assert [(one.type, one.hard) for one in seen.rlimits] == [("RLIMIT_NOFILE", 9)]
    assert one.adjust.annotations == {"new": "2", "-drop": ""}
    assert [one.destination for one in one.adjust.mounts] == ["-/data", "/more"]


def test_linux_too() -> None:
    one = Creation(container())
    linux(
        one,
        "00-a",
        devices=[m.Device(path="-/dev/old"), m.Device(path="/dev/new", type="c")],
        namespaces=[m.Namespace(type="-network")],
        sysctl={"net.a": "1"},
        net_devices={"eth7": m.NetDevice(name="net1")},
        resources=m.Resources(memory=m.Memory(limit=7), pids=m.Pids(limit=3)),
        oom_score_adj=0,
        cgroups_path="/x",
    )
    seen = one.linux
    assert [one.path for one in seen.devices] == ["/dev/new"]
    assert seen.namespaces == []
    assert (seen.sysctl, seen.oom_score_adj, seen.cgroups_path) == ({"net.a": "1"}, 0, "/x")
    assert seen.resources is not None
    assert seen.resources.memory == m.Memory(limit=7, swap=6)
    assert seen.resources.cpu == m.Cpu(shares=2)
    made = one.made
    assert [one.path for one in made.devices] == ["-/dev/old", "/dev/new"]
    assert made.resources is not None
    assert made.resources.memory == m.Memory(limit=7)


TWICE: dict[str, dict[str, Any]] = {
    "annotations a": {"annotations": {"a": "1"}},
    "env A": {"env": [m.KeyValue(key="A", value="1")]},
    "mounts /m": {"mounts": [m.Mount(destination="/m")]},
    "args": {"args": ["x"]},
    "rlimits RLIMIT_CPU": {"rlimits": [m.Rlimit(type="RLIMIT_CPU")]},
    "cdi_devices v.com/c=d": {"cdi_devices": [m.CDIDevice(name="v.com/c=d")]},
    "devices /dev/x": {"linux": Linux(devices=[m.Device(path="/dev/x", type="c")])},
    "namespaces ipc": {"linux": Linux(namespaces=[m.Namespace(type="ipc")])},
    "sysctl s": {"linux": Linux(sysctl={"s": "1"})},
    "net_devices e": {"linux": Linux(net_devices={"e": m.NetDevice()})},
    "oom_score_adj": {"linux": Linux(oom_score_adj=0)},
    "cgroups_path": {"linux": Linux(cgroups_path="/x")},
    "io_priority": {"linux": Linux(io_priority=m.IOPriority(kind=1))},
    "seccomp_policy": {"linux": Linux(seccomp_policy=m.Seccomp(defaultAction="SCMP_ACT_ALLOW"))},
    "scheduler": {"linux": Linux(scheduler=m.Scheduler(policy=3))},
    "memory_policy": {"linux": Linux(memory_policy=m.MemoryPolicy(mode=2))},
    "rdt.closID": {"linux": Linux(rdt=m.Rdt(closID="gold"))},
    "memory.limit": {"linux": Linux(resources=m.Resources(memory=m.Memory(limit=1)))},
    "cpu.mems": {"linux": Linux(resources=m.Resources(cpu=m.Cpu(mems="0")))},
    "hugepages 2MB": {"linux": Linux(resources=m.Resources(hugepageLimits=[m.HugepageLimit(pageSize="2MB")]))},
    "unified memory.high": {"linux": Linux(resources=m.Resources(unified={"memory.high": "1"}))},
    "pids": {"linux": Linux(resources=m.Resources(pids=m.Pids(limit=1)))},
    "rdt_class": {"linux": Linux(resources=m.Resources(rdt_class="gold"))},
    "blockio_class": {"linux": Linux(resources=m.Resources(blockio_class="gold"))},
}


@pytest.mark.parametrize("what", TWICE)
def test_two_plugins_that_set_the_same_thing(what: str) -> None:
    one = Creation(container())
    take(one, "00-a", **TWICE[what])
    with pytest.raises(FailedPrecondition, match=f"00-a and 10-b both set {what}"):
        take(one, "10-b", **TWICE[what])


def test_a_plugin_may_take_away_what_another_set_and_set_it_itself() -> None:
    one = Creation(container())
    take(one, "00-a", mounts=[m.Mount(destination="/m", source="/a")], args=["a"])
    take(
        one,
        "10-b",
        mounts=[m.Mount(destination="-/m"), m.Mount(destination="/m", source="/b")],
        args=["", "b"],
    )
    assert [(one.destination, one.source) for one in one.adjust.mounts] == [("/m", "/b")]
    assert one.adjust.args == ["b"]
    with pytest.raises(FailedPrecondition, match="10-b and 20-c"):
        take(one, "20-c", args=["c"])


def test_hooks_add_up() -> None:
    one = Creation(container())
    take(one, "00-a", hooks=m.Hooks(poststop=[m.Hook(path="/a")]))
    take(one, "10-b", hooks=m.Hooks(poststop=[m.Hook(path="/b")]))
    assert one.adjust.hooks is not None
    assert [one.path for one in one.adjust.hooks.poststop] == ["/a", "/b"]
    assert one.owners.told().owners["c"].simple[3] == "00-a,10-b"


def test_rdt_can_be_taken_away_and_set_anew() -> None:
    one = Creation(container())
    linux(one, "00-a", rdt=m.Rdt(closID="gold"))
    linux(one, "10-b", rdt=m.Rdt(remove=True, closID="lead"))
    assert one.made.rdt == m.Rdt(closID="lead", remove=True)


def update(id: str, ignore: bool = False, **memory: Any) -> m.ContainerUpdate:
    return m.ContainerUpdate(
        container_id=id,
        linux=m.LinuxContainerUpdate(resources=m.Resources(memory=m.Memory(**memory))),
        ignore_failure=ignore,
    )


def test_updates_of_the_same_container_are_joined() -> None:
    updates = Updates(Owners())
    updates.take("00-a", [update("x", ignore=True, limit=1)], [])
    updates.take("10-b", [update("x", swap=2)], [m.ContainerEviction(container_id="y")])
    (joined,) = updates.all()
    assert joined.linux is not None
    assert joined.linux.resources is not None
    assert joined.linux.resources.memory == m.Memory(limit=1, swap=2)
    assert not joined.ignore_failure
    assert [one.container_id for one in updates.evictions] == ["y"]


def test_a_contradiction_between_updates_counts_unless_it_is_to_be_ignored() -> None:
    updates = Updates(Owners())
    updates.take("00-a", [update("x", limit=1)], [])
    updates.take("10-b", [update("x", ignore=True, limit=2)], [])
    with pytest.raises(FailedPrecondition, match=r"memory\.limit"):
        updates.take("20-c", [update("x", limit=3)], [])


def test_the_container_that_is_made_is_adjusted_not_updated() -> None:
    one = Creation(container())
    with pytest.raises(FailedPrecondition, match="adjust it"):
        one.take("00-a", m.CreateContainerResponse(update=[update("c", limit=1)]))


def test_the_container_that_is_updated_begins_with_what_was_asked() -> None:
    updates = Updates(Owners())
    updates.expect("x", m.Resources(memory=m.Memory(limit=1, swap=1)))
    updates.take("00-a", [update("x", limit=2), update("y", limit=3)], [])
    assert updates.now("x").memory == m.Memory(limit=2, swap=1)
    updates.leave("x")
    assert [one.container_id for one in updates.all()] == ["y"]
