"""The pod as the network is told of it, and that doing ends before undoing begins."""

import asyncio
import threading

from cribus.api.cri.sandbox import DNSConfig, PortMapping
from cribus.api.cri.values import Protocol
from cribus.manager import podnet
from cribus.manager.records import Sandbox
from cribus.network.pods import Attached, Pod

from tests.unit.manager.conftest import Run, World, pod_config


def test_what_cni_is_told() -> None:
    config = pod_config(
        "web",
        dns_config=DNSConfig(servers=["1.1.1.1"]),
        annotations={"a": "b"},
        port_mappings=[
            PortMapping(container_port=80, host_port=8080, protocol=Protocol.UDP, host_ip="127.0.0.1"),
            PortMapping(container_port=81),
        ],
    )
    record = Sandbox(id="p", config=config, namespaces={"net": "/ns/net"}, cgroup="/c")
    assert podnet.pod_of(record) == Pod(
        id="p",
        netns="/ns/net",
        name="web",
        namespace="default",
        uid="uid-web",
        ports=[{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1"}],
        annotations={"a": "b"},
        dns={"servers": ["1.1.1.1"]},
        cgroup="/c",
    )


def test_the_hosts_network_is_left_alone(world: World, run: Run) -> None:
    assert run(podnet.attach(world.node, Sandbox(id="p"))) == []
    run(podnet.detach(world.node, Sandbox(id="p")))


def test_plugins_that_hang_take_nobody_elses_threads(world: World, run: Run) -> None:
    release = threading.Event()

    def attach(pod: Pod) -> Attached:
        release.wait(20)
        return Attached(ips=[], gateway="", interface="", result={})

    world.network.attach = attach  # type: ignore[method-assign]

    async def story() -> None:
        pods = [Sandbox(id=f"p{number}", namespaces={"net": "/ns/net"}) for number in range(40)]
        hanging = [asyncio.ensure_future(podnet.attach(world.node, one)) for one in pods]
        for _ in range(5):
            await asyncio.sleep(0)  # then each has its thread, or waits for one
        try:
            async with asyncio.timeout(10):
                assert await asyncio.to_thread(lambda: "free") == "free"
                assert await podnet.ready(world.node) == ""
        finally:
            release.set()
            await asyncio.gather(*hanging)

    run(story())


def test_one_who_is_cancelled_waits_for_the_end(world: World, run: Run) -> None:
    going, release = threading.Event(), threading.Event()

    def attach(pod: Pod) -> Attached:
        going.set()
        release.wait(5)
        world.network.attached[pod.id] = pod
        return Attached(ips=[], gateway="", interface="", result={})

    world.network.attach = attach  # type: ignore[method-assign]

    async def story() -> None:
        record = Sandbox(id="p", namespaces={"net": "/ns/net"})
        task = asyncio.ensure_future(podnet.attach(world.node, record))
        await asyncio.to_thread(going.wait, 5)
        task.cancel()
        asyncio.get_running_loop().call_later(0.01, release.set)
        await asyncio.wait([task])
        assert task.cancelled()
        assert "p" in world.network.attached

    run(story())
