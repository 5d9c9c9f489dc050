"""NRI on a real node: a plugin adjusts what really runs, and a bad one costs its deadline and nothing else."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cribus.manager.nri import messages as m
from cribus.manager.nri.protobuf import Message

from tests.harness import Node, until
from tests.nri import Answer, Plugin, Refusal, program

Connect = Callable[..., Plugin]


@pytest.fixture
def connect(clean: Node) -> Iterator[Connect]:
    """Plugins that are gone when the test is over, whatever it left."""
    made: list[Plugin] = []

    def plugin(name: str, answers: Mapping[str, Answer] | None = None, register: bool = True) -> Plugin:
        one = Plugin(clean.nri, name, answers)
        made.append(one)
        return one.register() if register else one

    yield plugin
    for one in made:
        one.close()


def creating(**given: Any) -> dict[str, Answer]:
    """A plugin that adjusts every container so."""
    return {"CreateContainer": lambda _: m.CreateContainerResponse(adjust=m.ContainerAdjustment(**given))}


def limits(container: str, limit: int) -> m.ContainerUpdate:
    resources = m.Resources(memory=m.Memory(limit=limit), pids=m.Pids(limit=50))
    return m.ContainerUpdate(container_id=container, linux=m.LinuxContainerUpdate(resources=resources))


def cgroup(node: Node, container: str, controller: str, file: str) -> str:
    """A file of the container's cgroup, v1 or v2."""
    path = json.loads((node.run_dir / "containers" / container / "state.json").read_text())["cgroup"]
    v1 = Path(f"/sys/fs/cgroup/{controller}{path}/{file}")
    v2 = {"memory.limit_in_bytes": "memory.max"}.get(file, file)
    return (v1 if v1.exists() else Path(f"/sys/fs/cgroup{path}/{v2}")).read_text().strip()


def test_what_a_plugin_adjusts_is_what_runs(clean: Node, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    linux = m.LinuxContainerAdjustment(
        devices=[m.Device(path="/dev/brim", type="c", major=1, minor=7, fileMode=0o666)],
        resources=m.Resources(memory=m.Memory(limit=64 << 20), pids=m.Pids(limit=40)),
        oom_score_adj=777,
        sysctl={"net.ipv4.tcp_keepalive_time": "77"},
        scheduler=m.Scheduler(policy=m.POLICIES.index("SCHED_BATCH"), nice=6),
        io_priority=m.IOPriority(kind=m.IO_CLASSES.index("IOPRIO_CLASS_IDLE")),
        memory_policy=m.MemoryPolicy(mode=m.MEMORY_MODES.index("MPOL_BIND"), nodes="0"),
    )
    plugin = connect(
        "00-adjust",
        creating(
            annotations={"nri": "was here"},
            env=[m.KeyValue(key="NRI", value="a=b")],
            mounts=[m.Mount(destination="/nri", type="bind", source=str(tmp_path), options=["rbind", "ro"])],
            rlimits=[m.Rlimit(type="RLIMIT_NOFILE", hard=99, soft=88)],
            args=["sh", "-c", ADJUSTED],
            linux=linux,
        ),
    )
    pod = clean.pod("adjust")
    container = clean.container(pod, "adjust", "false")
    assert clean.exited(container)["exitCode"] == 9
    assert clean.log_lines(container) == ["a=b", "from the host", "88", "full", "777", "77", "6 3", "idle", "bound"]
    assert clean.status(container)["resources"]["linux"]["memoryLimitInBytes"] == str(64 << 20)
    spec = clean.json("inspect", container)["info"]["runtimeSpec"]
    assert spec["annotations"]["nri"] == "was here"
    assert spec["linux"]["resources"]["pids"] == {"limit": 40}
    told = plugin.heard("CreateContainer", container)
    assert (told.pod.name, told.container.name, told.container.args) == ("adjust", "adjust", ["false"])
    assert plugin.heard("StopContainer", container).container.exit_code == 9
    clean.crictl("rmp", "-f", pod)
    assert plugin.methods(container)[-1] == "RemoveContainer"
    assert plugin.methods(pod) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]


def test_a_network_device_for_a_container(clean: Node, connect: Connect) -> None:
    device = f"{clean.tag}v"
    devices = {device: m.NetDevice(name="vendor0")}
    connect("00-device", creating(linux=m.LinuxContainerAdjustment(net_devices=devices)))
    pod = clean.pod("device")
    for command in (f"link add {device} type veth peer name {device}p", f"addr add 192.0.2.5/28 dev {device}"):
        subprocess.run(["ip", *command.split()], check=True)
    try:
        container = clean.container(pod, "device", "sleep", "1000")
        assert "192.0.2.5/28" in clean.crictl("exec", "-s", container, "ip", "addr", "show", "vendor0")
        assert not Path(f"/sys/class/net/{device}").exists()
        # one that comes in its place finds it there
        clean.crictl("rm", "-f", container)
        container = clean.container(pod, "device", "sleep", "1000")
        assert "192.0.2.5/28" in clean.crictl("exec", "-s", container, "ip", "addr", "show", "vendor0")
    finally:
        subprocess.run(["ip", "link", "del", f"{device}p"], check=True)
    clean.crictl("rmp", "-f", pod)


ADJUSTED = """
echo $NRI; cat /nri/file; ulimit -n; echo x 2>/dev/null >/dev/brim || echo full; cat /proc/self/oom_score_adj
cat /proc/sys/net/ipv4/tcp_keepalive_time; cut -d' ' -f19,41 /proc/self/stat
ionice | cut -d: -f1; grep -q bind:0 /proc/self/numa_maps && echo bound; touch /nri/x 2>/dev/null || exit 9
"""


def test_updates_of_another_container(clean: Node, connect: Connect) -> None:
    pod = clean.pod("update")
    other = clean.container(pod, "other", "sleep", "1000")
    answers: dict[str, Answer] = {
        "CreateContainer": lambda _: m.CreateContainerResponse(update=[limits(other, 64 << 20)])
    }
    plugin = connect("00-update", answers)
    assert [(one.id, one.state) for one in plugin.containers] == [(other, 3)]
    container = clean.container(pod, "update", "sleep", "1000")
    assert cgroup(clean, other, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert cgroup(clean, other, "pids", "pids.max") == "50"
    # and by itself
    failed = plugin.update(limits(container, 32 << 20), limits("nobody", 1 << 20))
    assert [one.container_id for one in failed] == ["nobody"]
    assert cgroup(clean, container, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert clean.status(container)["resources"]["linux"]["memoryLimitInBytes"] == str(32 << 20)
    clean.crictl("rmp", "-f", pod)


def test_an_update_goes_through_the_plugin(clean: Node, connect: Connect) -> None:
    def halved(request: m.UpdateContainerRequest) -> Message:
        assert request.container is not None
        assert request.resources is not None
        assert request.resources.memory is not None
        return m.ChangeResponse(update=[limits(request.container.id, (request.resources.memory.limit or 0) // 2)])

    plugin = connect("00-halve", {"UpdateContainer": halved})
    pod = clean.pod("halve")
    container = clean.container(pod, "halve", "sleep", "1000")
    clean.crictl("update", "--memory", str(64 << 20), container)
    assert cgroup(clean, container, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert plugin.methods(container)[-2:] == ["UpdateContainer", "PostUpdateContainer"]
    clean.crictl("rmp", "-f", pod)


def test_an_eviction(clean: Node, connect: Connect) -> None:
    pod = clean.pod("evict")
    victim = clean.container(pod, "victim", "sleep", "1000")
    answer = m.CreateContainerResponse(evict=[m.ContainerEviction(container_id=victim, reason="room is needed")])
    connect("00-evict", {"CreateContainer": lambda _: answer})
    clean.container(pod, "evict", "sleep", "1000")
    assert clean.exited(victim)["exitCode"] == 137
    clean.crictl("rmp", "-f", pod)


def test_a_refusal_is_told_and_leaves_nothing(clean: Node, connect: Connect) -> None:
    def refuse(request: Any) -> Message:
        raise Refusal("not on this node")

    connect("00-refuse", {"RunPodSandbox": refuse})
    done = clean.try_crictl("runp", str(clean.pod_config("refuse")))
    assert "NRI plugin 00-refuse refuses RunPodSandbox: not on this node" in done.stderr
    clean.assert_clean()


def test_a_plugin_that_hangs_costs_its_deadline(clean: Node, connect: Connect) -> None:
    gate = threading.Event()
    plugin = connect("00-hang", {"StartContainer": lambda _: gate.wait(30) and None})
    pod = clean.pod("hang")
    container = clean.container(pod, "hang", "sleep", "1000")
    assert clean.status(container)["state"] == "CONTAINER_RUNNING"
    gate.set()
    assert plugin.over.wait(10)
    assert plugin.methods(container) == ["CreateContainer", "PostCreateContainer", "StartContainer"]
    assert _thrown_out(clean, "00-hang", "did not answer StartContainer within 2 s")
    clean.crictl("rmp", "-f", pod)


def test_a_plugin_that_crashes_in_the_middle_of_a_call(clean: Node, connect: Connect) -> None:
    plugin: Plugin = connect("00-crash", {"CreateContainer": lambda _: plugin.socket.shutdown(socket.SHUT_RDWR)})
    other = connect("10-other", creating(env=[m.KeyValue(key="NRI", value="yes")]))
    pod = clean.pod("crash")
    container = clean.container(pod, "crash", "sh", "-c", "echo $NRI")
    assert clean.exited(container)["exitCode"] == 0
    assert clean.log_lines(container) == ["yes"]
    assert "PostStartContainer" in other.methods(container)
    clean.crictl("rmp", "-f", pod)


@pytest.mark.parametrize("registered", [True, False], ids=["a plugin", "a stranger"])
def test_rubbish(clean: Node, connect: Connect, registered: bool) -> None:
    plugin = connect("00-rubbish", register=registered)
    plugin.socket.sendall(os.urandom(4096) if registered else b"GET / HTTP/1.1\r\nHost: nri\r\n\r\n")
    assert plugin.over.wait(10)
    other = connect("10-other")
    pod = clean.pod("rubbish")
    assert other.methods(pod) == ["RunPodSandbox"]
    clean.crictl("rmp", "-f", pod)


def test_a_plugin_from_the_folder_comes_with_each_manager(clean: Node) -> None:
    adjust = "m.ContainerAdjustment(env=[m.KeyValue(key='NRI', value=plugin.configured.config)])"
    script = f"""
plugin.answers = {{"CreateContainer": lambda _: m.CreateContainerResponse(adjust={adjust})}}
plugin.register()
plugin.over.wait()
"""
    folder = clean.nri.parent / "plugins"
    file = program(folder, "20-folder", script)
    (clean.nri.parent / "conf.d").mkdir()
    (clean.nri.parent / "conf.d" / "20-folder.conf").write_text("told")
    try:
        for name in ("first", "second"):
            os.kill(clean.services()["manager"], signal.SIGKILL)
            until(lambda: clean.try_crictl("pods").returncode == 0, 10, "the next manager")
            pod = clean.pod(name)
            container = clean.container(pod, name, "sh", "-c", "echo $NRI")
            assert clean.exited(container)["exitCode"] == 0
            assert clean.log_lines(container) == ["told"]
            clean.crictl("rmp", "-f", pod)
    finally:
        file.unlink()
        os.kill(clean.services()["manager"], signal.SIGKILL)
    until(lambda: clean.try_crictl("pods").returncode == 0, 10, "the next manager")


def test_two_plugins_in_conflict(clean: Node, connect: Connect) -> None:
    for name in ("00-one", "10-two"):
        connect(name, creating(env=[m.KeyValue(key="NRI", value=name)]))
    pod = clean.pod("conflict")
    config, pod_config = clean.container_config("conflict", "true"), clean.base / "conflict-pod.json"
    done = clean.try_crictl("create", pod, str(config), str(pod_config))
    assert "NRI plugins 00-one and 10-two both set env NRI" in done.stderr
    assert clean.json("ps", "-a", "-o", "json")["containers"] == []
    clean.crictl("rmp", "-f", pod)


def test_who_connects_again_after_the_manager_died_is_told_what_runs(clean: Node, connect: Connect) -> None:
    plugin = connect("00-again")
    pod = clean.pod("again")
    running = clean.container(pod, "again", "sleep", "1000")
    over = clean.container(pod, "over", "true")
    clean.exited(over)
    manager = clean.services()["manager"]
    os.kill(manager, signal.SIGKILL)
    assert plugin.over.wait(10)
    until(lambda: clean.services()["manager"] not in (manager, 0), 10, "the manager is back")
    clean.crictl("version")
    again = connect("00-again")
    assert [(one.id, one.name) for one in again.pods] == [(pod, "again")]
    assert [(one.id, one.state) for one in again.containers] == [(running, 3)]
    assert again.containers[0].args == ["sleep", "1000"]
    clean.crictl("rmp", "-f", pod)
    assert again.methods(pod) == ["StopPodSandbox", "RemovePodSandbox"]
    assert again.methods(running) == ["StopContainer", "RemoveContainer"]


def _thrown_out(node: Node, plugin: str, cause: str) -> bool:
    lines = [json.loads(line) for line in (node.root / "log" / "manager.log").read_text().splitlines()]
    return any(one.get("plugin") == plugin and cause in str(one.get("cause")) for one in lines)
