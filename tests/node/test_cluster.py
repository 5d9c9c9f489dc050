"""Two nodes on one cluster of three nats-servers: neither sees the other, and any server may die."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from cribus.bus import credentials
from cribus.config import Settings
from nats.js.errors import NotFoundError

from tests.harness import IMAGE, PYTHON, Node, free_port, run, until

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done"
SERVER = str(Path(PYTHON).parent / "nats-server")
# docs/cluster.md has the same
OPERATOR = {
    "user": "operator",
    "password": "for this test",
    "permissions": {
        "publish": ["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.>", "$JS.ACK.>"],
        "subscribe": ["_INBOX.>", "cribus.*.events.>"],
    },
}


class Cluster:
    """Three servers on loopback, which know these users."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.ports = [free_port() for _ in range(3)]
        self._routes = [free_port() for _ in range(3)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def configure(self, users: list[dict[str, Any]]) -> None:
        for k, port in enumerate(self.ports):
            conf = {
                "listen": f"127.0.0.1:{port}",
                "server_name": f"server-{k}",
                "jetstream": {"store_dir": str(self._base / f"store-{k}"), "max_file_store": 4 << 30},
                "cluster": {
                    "name": "fleet",
                    "listen": f"127.0.0.1:{self._routes[k]}",
                    "routes": [f"nats://127.0.0.1:{route}" for route in self._routes],
                },
                "authorization": {"users": users},
            }
            (self._base / f"server-{k}.conf").write_text(json.dumps(conf))

    def start(self, k: int) -> None:
        with open(self._base / f"server-{k}.log", "ab") as log:
            argv = [SERVER, "-c", str(self._base / f"server-{k}.conf")]
            self._running[k] = subprocess.Popen(argv, stdout=log, stderr=log)

    def kill(self, k: int) -> None:
        server = self._running.pop(k)
        server.send_signal(signal.SIGKILL)
        server.wait()

    def close(self) -> None:
        for k in list(self._running):
            self.kill(k)


@contextmanager
def node(base: Path, cluster: Cluster) -> Iterator[Node]:
    """One that is not up yet."""
    base.mkdir()
    one = Node(base)
    text = one.config.read_text()
    assert "\nlisten = " in text
    one.config.write_text(text.replace("\nlisten = ", f'\nurl = "{cluster.url}"\nreplicas = 3\nlisten = ', 1))
    try:
        yield one
    finally:
        one.down()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Node, Node]]:
    base = tmp_path_factory.mktemp("fleet")
    cluster = Cluster(base)
    with ExitStack() as stack:
        stack.callback(cluster.close)
        first, second = (stack.enter_context(node(base / name, cluster)) for name in ("first", "second"))
        users = [user for one in (first, second) for user in json.loads(one.cribus("credentials"))]
        cluster.configure([*users, OPERATOR])
        for k in range(3):
            cluster.start(k)
        archive = base / "busybox.tar"
        run(PYTHON, "-c", f"from cribus.images import starter; starter.build({str(archive)!r}, reference={IMAGE!r})")
        for one in (first, second):
            one.up()
            one.cribus("load", str(archive))
        yield cluster, first, second


Fleet = tuple[Cluster, Node, Node]


def test_two_nodes_share_it_and_see_nothing_of_each_other(fleet: Fleet) -> None:
    _, first, second = fleet
    assert "nats" not in first.services(), "the bus is somebody else's"
    pods = {one: one.pod("same-name") for one in (first, second)}
    for one, pod in pods.items():
        container = one.container(pod, "same-name", "sh", "-c", f"echo here is {one.tag}; sleep 1000")
        assert one.crictl("pods", "-q") == pod
        assert one.crictl("exec", "-s", container, "hostname") == one.crictl("exec", "-s", container, "hostname")
        until(lambda one=one, id=container: one.log_lines(id) == [f"here is {one.tag}"], 5, "its line")  # type: ignore[misc]
        told = [json.loads(line) for line in one.cribus("events", "--kind", "container_started").splitlines()]
        assert [event["id"] for event in told] == [container]
    for one, pod in pods.items():
        one.crictl("rmp", "-f", pod)
        one.assert_clean()


def test_a_node_may_not_touch_what_is_another_ones(fleet: Fleet) -> None:
    cluster, first, second = fleet
    own, other = (Settings(node=one.tag, root=str(one.root)) for one in (first, second))
    known = json.loads((credentials.directory(own) / "manager.json").read_text())

    async def main() -> None:
        refused: asyncio.Queue[str] = asyncio.Queue()

        async def note(error: Exception) -> None:
            refused.put_nowait(str(error).lower())

        bus = await nats.connect(
            cluster.url.split(","),
            user=known["user"],
            password=known["password"],
            inbox_prefix=b"_INBOX.manager",
            error_cb=note,
        )
        stream = f"cribus_{other.node}_events"
        wanted = [
            f"$JS.API.STREAM.DELETE.{stream}",
            f"$JS.API.STREAM.PURGE.KV_cribus_{other.node}",
            f"$JS.API.STREAM.CREATE.KV_cribus_{other.node}",
            f"$KV.cribus_{other.node}.sandboxes.x",
            f"cribus.{other.node}.manager.list_sandboxes",
            f"cribus.{other.node}.events.exited.x",
        ]
        for subject in wanted:
            await bus.publish(subject, b"")
            assert f'permissions violation for publish to "{subject.lower()}"' in await refused.get()
        await bus.subscribe(f"cribus.{other.node}.executor.>")
        assert "permissions violation for subscription" in await refused.get()
        await bus.close()

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())


def test_an_operator_reads_the_events_of_all(fleet: Fleet) -> None:
    cluster, first, second = fleet

    async def main() -> set[str]:
        bus = await nats.connect(cluster.url.split(","), user=OPERATOR["user"], password=OPERATOR["password"])
        seen = set()
        for one in (first, second):
            state = (await bus.jetstream().stream_info(f"cribus_{one.tag}_events")).config
            assert state.num_replicas == 3
            seen.add(one.tag)
        with pytest.raises(NotFoundError):
            await bus.jetstream().stream_info("cribus_nobody_events")
        heard = await bus.subscribe("cribus.*.events.sandbox_ready.>")
        await bus.flush()
        pods = [(one, await asyncio.to_thread(one.pod, "heard")) for one in (first, second)]
        nodes = {(await heard.next_msg(10)).subject.split(".")[1] for _ in pods}
        for one, pod in pods:
            await asyncio.to_thread(one.crictl, "rmp", "-f", pod)
        await bus.close()
        return nodes

    assert asyncio.run(main()) == {first.tag, second.tag}


def test_servers_die_one_after_another_and_all_at_once(fleet: Fleet) -> None:
    cluster, first, second = fleet
    lives = []
    for one in (first, second):
        pod = one.pod("counts")
        lives.append((one, pod, one.container(pod, "counts", "sh", "-c", f"trap 'exit 7' TERM; {COUNT}")))

    def whole(what: str) -> None:
        began = time.monotonic()
        for one, pod, container in lives:
            until(lambda one=one: one.try_crictl("ps").returncode == 0, 20, "it answers")  # type: ignore[misc]
            assert one.crictl("exec", "-s", container, "echo", "still here") == "still here"
            assert one.crictl("pods", "-q") == pod
            lines = one.log_lines(container)
            assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
        print(f"{what}: both nodes whole after {time.monotonic() - began:.2f} s")

    whole("before")
    for k in range(3):
        cluster.kill(k)
        whole(f"server {k} killed")
        cluster.start(k)
    for k in range(2):
        cluster.kill(k)
    whole("two of three killed")
    cluster.kill(2)
    seen = len(_text(first, "counts"))
    until(lambda: len(_text(first, "counts")) > seen, 5, "without a bus the containers go on")
    for k in range(3):
        cluster.start(k)
    whole("all started again")
    for one, pod, container in lives:
        one.crictl("stop", "-t", "5", container)
        assert one.exited(container)["exitCode"] == 7
        one.crictl("rmp", "-f", pod)
        one.assert_clean(30)  # the streams need a new leader first, which takes the servers up to 9 s


def _text(one: Node, name: str) -> str:
    return (one.logs / name / f"{name}.log").read_text()
