"""A node whose peers are a dictionary of functions: the fakes sit at the lowest seam, `call`, the
store and the network, so that everything of the manager itself is real."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus import log
from cribus.api import events, executor, images, shim, shimd
from cribus.api.cri import container as c
from cribus.api.cri import sandbox as s
from cribus.api.cri.image import ImageSpec
from cribus.api.events import Event
from cribus.api.verb import Empty, Verb
from cribus.cgroups.tree import Tree
from cribus.config import Settings
from cribus.errors import CribusError, FailedPrecondition, NotFound, Unavailable
from cribus.manager import container_create, container_start, exits, looks, sandbox_run
from cribus.manager.host import Host
from cribus.manager.node import Below, Node
from cribus.manager.records import Records
from cribus.network.pods import Attached, Pod

IMAGE = "localhost/busybox:latest"


class Store:
    """The KV: a dictionary that counts revisions, and can be away."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.revisions = 0
        self.away = False

    async def put(self, key: str, value: bytes) -> int:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("the bus is away")
        self.data[key] = value
        self.revisions += 1
        return self.revisions

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("the bus is away")
        self.data.pop(key, None)

    async def load_all(self) -> dict[str, bytes]:
        return dict(self.data)


class Network:
    """The network room: who is attached."""

    def __init__(self) -> None:
        self.attached: dict[str, Pod] = {}
        self.fail: Exception | None = None
        self.why = ""
        self.cidr = ""
        self.removed = False
        self.counters = {"eth0": {"rx_bytes": 1, "tx_bytes": 2, "rx_errors": 0, "tx_errors": 0, "rx_packets": 3}}

    def attach(self, pod: Pod) -> Attached:
        if self.fail:
            raise self.fail
        self.attached[pod.id] = pod
        return Attached(ips=[f"10.0.0.{len(self.attached) + 1}"], gateway="10.0.0.1", interface="eth0", result={})

    def detach(self, pod_id: str, netns: str = "") -> None:
        self.attached.pop(pod_id, None)

    def ready(self) -> tuple[bool, str]:
        return not self.why, self.why

    def reconcile(self, live_pods: set[str]) -> None:
        for pod in set(self.attached) - live_pods:
            del self.attached[pod]

    def stats(self, netns: str) -> dict[str, dict[str, int]]:
        return self.counters

    def set_pod_cidr(self, subnet: str) -> None:
        self.cidr = subnet

    def remove(self) -> None:
        self.removed = True


class Cgroups(Tree):
    """The hierarchies: none is there."""

    def directories(self, path: str) -> list[str]:
        return []


class World:
    """The peers, as far as the manager can see them: what they hold, and what they were asked."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.settings = Settings(node="unit", run=str(base / "run"), root=str(base / "root"))
        (base / "root").mkdir()
        self.store = Store()
        self.network = Network()
        self.told: list[Event] = []
        self.asked: list[tuple[str, Any]] = []
        self.fail: dict[str, list[Exception]] = {}
        self.answers: dict[str, Callable[[Any], Any]] = {}  # instead of those below
        self.pods: set[str] = set()
        self.shims: dict[str, int] = {}
        self.states: dict[str, executor.State] = {}
        self.taken: dict[str, str] = {}
        self.layers: set[str] = set()
        self.images: dict[str, dict[str, Any]] = {IMAGE: {"Cmd": ["sh"], "Env": ["PATH=/bin"]}}
        self.obeys = True  # containers end when they are asked to
        self.mortal = True  # containers die of SIGKILL
        self.silent = False  # shims tell no exits
        self.later: set[asyncio.Task[None]] = set()
        self.news = asyncio.Event()  # something was asked
        self.node = self.boot()

    def boot(self) -> Node:
        """A manager as it is after its process was started; `load` reads the store."""
        below = Below(
            records=Records(self.store), network=self.network, tree=Cgroups("cgroupfs", "cribus"), host=Host()
        )
        self.node = Node(self.settings, self.call, self._publish, below)
        self.node.look = self._look
        return self.node

    async def restart(self) -> Node:
        """The manager was killed: only the store, the peers and the disk know what was."""
        node = self.boot()
        await node.records.load()
        return node

    async def _look(self, look: str, path: str) -> Any:
        return looks.LOOKS[look](path)

    async def _publish(self, event: Event) -> None:
        self.told.append(event)

    async def call(self, verb: Verb[Any, Any], request: Any, /, *, id: str = "", timeout: float = 30.0) -> Any:
        name = f"{verb.service}.{verb.name}"
        self.asked.append((name, request))
        self.news.set()
        await asyncio.sleep(0)
        failures = self.fail.get(name)
        if failures:
            raise failures.pop(0)
        answer = self.answers.get(name) or getattr(self, f"{verb.service}_{verb.name}", None)
        return answer(request) if answer else verb.answer()

    async def asked_for(self, name: str) -> None:
        """Until this was asked."""
        while name not in self.names():
            self.news.clear()
            await self.news.wait()

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    # shimd and shim

    def shimd_start_shim(self, request: shimd.StartShim) -> shimd.ShimStarted:
        self.shims[request.pod] = 1
        return shimd.ShimStarted(pid=1)

    def shimd_stop_shim(self, request: shimd.StopShim) -> Empty:
        self.shims.pop(request.pod, None)
        self.taken = {container: pod for container, pod in self.taken.items() if pod != request.pod}
        return Empty()

    def shimd_list_shims(self, request: Empty) -> shimd.Shims:
        return shimd.Shims(pids=dict(self.shims))

    def shim_take(self, request: shim.Take) -> Empty:
        assert request.pod in self.shims
        self.taken[request.container] = request.pod
        return Empty()

    def shim_release(self, request: shim.Named) -> Empty:
        self.taken.pop(request.container, None)
        return Empty()

    # executor

    def executor_create_pod(self, request: executor.CreatePod) -> executor.PodCreated:
        self.pods.add(request.pod)
        folder = f"{self.settings.run}/pods/{request.pod}"
        return executor.PodCreated(
            namespaces={kind: f"{folder}/ns/{kind}" for kind in request.namespaces},
            cgroup=f"/cribus/{request.pod}",
            pid=7 if "pid" in request.namespaces else 0,
        )

    def executor_delete_pod(self, request: executor.DeletePod) -> Empty:
        self.pods.discard(request.pod)
        return Empty()

    def executor_create(self, request: executor.Create) -> executor.Created:
        assert json.loads(Path(f"{self.settings.run}/containers/{request.container}/config.json").read_text())
        self.states[request.container] = executor.State(
            container=request.container, pod=request.pod, status="created", pid=100
        )
        return executor.Created(pid=100)

    def executor_start(self, request: executor.Named) -> Empty:
        self.set(request.container, status="running", started_at=1)
        return Empty()

    def executor_kill(self, request: executor.Kill) -> Empty:
        state = self.states.get(request.container)
        if state is None or state.status == "stopped":
            raise FailedPrecondition("it is stopped")
        if (request.signal == 9 and self.mortal) or (request.signal != 9 and self.obeys):
            self.exit(request.container, 128 + request.signal)
        return Empty()

    def executor_delete(self, request: executor.Named) -> Empty:
        self.states.pop(request.container, None)
        return Empty()

    def executor_state(self, request: executor.Named) -> executor.State:
        found = self.states.get(request.container)
        if found is None:
            raise NotFound(f"there is no container {request.container}")
        return found

    def executor_states(self, request: Empty) -> executor.States:
        return executor.States(containers=list(self.states.values()), pods=sorted(self.pods))

    def set(self, container: str, **fields: Any) -> None:
        self.states[container] = msgspec.structs.replace(self.states[container], **fields)

    def exit(self, container: str, code: int) -> None:
        """The container's process ends; its shim tells, soon."""
        self.set(container, status="stopped", exit_code=code, exit_known=True, exited_at=2 * 10**18)
        if not self.silent:
            event = Event(kind=events.EXITED, id=container, at=2 * 10**18, exit_code=code)
            task = asyncio.ensure_future(exits.took(self.node, event))
            self.later.add(task)
            task.add_done_callback(self.later.discard)

    # images

    def images_prepare(self, request: images.Prepare) -> images.Prepared:
        if request.image not in self.images:
            raise NotFound(f"there is no image {request.image}")
        if request.below == "none":
            raise NotFound(f"image {request.image} has no directory none")
        self.layers.add(request.container)
        return images.Prepared(
            lower=[f"{self.base}/layer/{request.below}".rstrip("/")],
            upper=f"/upper/{request.container}",
            work=f"/work/{request.container}",
            image_id="sha256:" + "1" * 64,
            image_ref=f"{request.image}@sha256:" + "2" * 64,
            config=self.images[request.image],
            passwd=b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
            group=b"root:x:0:\nuser:x:1000:\nextra:x:50000:user\n",
            volumes={},
            below=request.below,
        )

    def images_discard(self, request: images.Discard) -> Empty:
        self.layers.discard(request.container)
        return Empty()

    # short ways

    async def pod(self, name: str = "pod", **more: Any) -> str:
        return (
            await sandbox_run.run(self.node, s.RunPodSandboxRequest(config=pod_config(name, **more)))
        ).pod_sandbox_id

    async def created(self, pod: str, name: str = "main", **more: Any) -> str:
        request = c.CreateContainerRequest(
            pod_sandbox_id=pod, config=container_config(name, **more), sandbox_config=pod_config("pod")
        )
        return (await container_create.create(self.node, request)).container_id

    async def running(self, pod: str, name: str = "main", **more: Any) -> str:
        id = await self.created(pod, name, **more)
        await container_start.start(self.node, c.StartContainerRequest(container_id=id))
        return id

    def runs(self) -> bool:
        """Whether any process, shim or interface is left."""
        return any([self.pods, self.shims, self.states, self.taken, self.network.attached])

    def clean(self) -> bool:
        """Nothing of any pod is left anywhere."""
        folders = [path for kind in ("pods", "containers") for path in (self.base / "run" / kind).glob("*")]
        known = [self.node.records.sandboxes, self.node.records.containers]
        return not self.runs() and not any([folders, self.layers, self.store.data, *known])


def pod_config(name: str, **more: Any) -> s.PodSandboxConfig:
    metadata = s.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default")
    return s.PodSandboxConfig(metadata=metadata, log_directory=f"/logs/{name}", **more)


def container_config(name: str, **more: Any) -> c.ContainerConfig:
    known = {"image": ImageSpec(image=IMAGE), "log_path": f"{name}.log", **more}
    return c.ContainerConfig(metadata=c.ContainerMetadata(name=name), **known)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Run:
    """Run one coroutine to its end; a test that hangs fails."""

    def runner(work: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            async with asyncio.timeout(20):
                return await work

        return asyncio.run(limited())

    return runner


async def as_request(id: str, work: Callable[[], Awaitable[Any]], deadline: int = 0) -> Any:
    """Do it as the bus does a request of this id."""
    with log.ids(request=id, until=str(deadline) if deadline else ""):
        return await work()


async def failing(work: Awaitable[Any]) -> CribusError:
    """The error that it raises, out of its task group."""
    try:
        await work
    except (CribusError, BaseExceptionGroup) as error:
        found: BaseException = error
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        assert isinstance(found, CribusError), repr(found)
        return found
    raise AssertionError("it did not fail")


def listed(*parts: str) -> list[str]:
    """The names in a folder; empty when it is not there."""
    folder = Path(*parts)
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def make(*parts: str) -> None:
    Path(*parts).mkdir(parents=True, exist_ok=True)


def delete(*parts: str) -> None:
    Path(*parts).unlink()


def overwrite(text: str, *parts: str) -> None:
    Path(*parts).write_text(text)


def read(*parts: str) -> bytes:
    return Path(*parts).read_bytes()
