"""A node on which processes die, somebody who runs through it all, and the proof that nobody noticed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cribus import config
from cribus.api import events, executor
from cribus.gateway.cri import api_pb2 as pb
from cribus.linux import mount

from tests import harness, registry
from tests.chaos.faults import Faults
from tests.chaos.leaks import Leaks
from tests.chaos.lives import Client, Life, check_lines, check_order
from tests.chaos.news import News
from tests.chaos.recovery import Kill
from tests.chaos.victims import Victims
from tests.chaos.watch import Watch
from tests.harness import IMAGE, PYTHON, Node, until

_AT_TIMES = ("looks",)  # who is started only when there is something to do


class World:
    """One node for many cases, with its bystander: a pod that has nothing to do with any of them."""

    def __init__(self, node: Node, faults: Faults, image: str) -> None:
        os.environ["CRIBUS_CONFIG"] = str(node.config)
        settings = config.load()
        self.node = node
        self.faults = faults
        self.image = image  # one that can be pulled
        self.shared = node.base / "shared"  # a mount that propagates
        self.client = Client(f"unix://{node.socket}", IMAGE)
        self.watch = Watch(settings)
        self.victims = Victims(node, settings)
        self.starting: subprocess.Popen[bytes] | None = None
        self.leaks = Leaks(node, self.victims, self.watch)
        self.news: News | None = None
        self.known: set[str] = set()  # former bystanders
        self.bystander = self._another()
        self.leaks.settle(self._ours())

    def _another(self) -> Life:
        life = self.life()
        del life.config.port_mappings[:]
        return life.up()

    def life(self, **more: Any) -> Life:
        return Life(self.client, self.node.logs, **more)

    def pid(self, part: str, life: Life) -> int:
        """Of a part of the node, or of the pod that is at stake; of the bystander where that has none."""
        return self.victims.pid(part, life.id, life.container) or self.victims.pid(
            part, self.bystander.id, self.bystander.container
        )

    def _surely(self, part: str, life: Life) -> int:
        """Who was killed in the case before is back by now, or just about to be."""
        found: int = until(partial(self.pid, part, life), 10, f"there is a {part}")
        return found

    def kill(self, parts: tuple[str, ...], life: Life) -> None:
        if {"shim", "keeper"} <= set(parts):
            life.orphaned = self.bystander.orphaned = True
            life.unseen = self.bystander.unseen = {"executor", "shimd"} <= set(parts)
        for pid in [self._surely(part, life) for part in parts if self.pid(part, life) or part not in _AT_TIMES]:
            os.kill(pid, signal.SIGKILL)
        if "guard" in parts:  # of which the host's own supervisor takes care
            argv = [PYTHON, "-m", "cribus.cli", "up"]
            self.starting = subprocess.Popen(argv, env=self.node.env, stdout=subprocess.DEVNULL)

    def whole_again(self, kill: Kill, *others: str) -> None:
        """Wait until every kind of call works, also in these containers. Fails when that takes too long."""
        asked: list[tuple[str, Any]] = [
            ("ListContainers", pb.ListContainersRequest()),
            ("ListPodSandbox", pb.ListPodSandboxRequest()),
            ("ListImages", pb.ListImagesRequest()),
        ]
        asked += [
            ("ExecSync", pb.ExecSyncRequest(container_id=container, cmd=["true"], timeout=10))
            for container in (*others, self.bystander.container)
        ]
        for method, request in asked:
            self.client.ask(method, request)
            print(f"{method} works {time.monotonic() - kill.at:.2f} s after the kill")
        kill.over()

    @contextmanager
    def listened(self) -> Iterator[None]:
        """While inside, a client of GetContainerEvents hears of whom `prove` is asked for."""
        self.news = self.client.news()
        try:
            yield
        finally:
            self.news.close()
            self.news = None

    def prove(self, life: Life) -> None:
        """The life at stake is as it should be, and goes; the bystander goes on; nothing is left."""
        finish(life)
        self.guarded()
        self._told(life)
        self._heard(life)
        self._goes_on()
        self.leaks.none(self._ours())
        self._at_rest()

    def _ours(self) -> tuple[str, str]:
        return self.bystander.id, self.bystander.container

    def _told(self, life: Life) -> None:
        if not life.id:
            return
        pod = [events.SANDBOX_READY, events.SANDBOX_STOPPED, events.SANDBOX_REMOVED]
        assert [kind for kind in self.watch.told(life.id, pod, 5) if kind in pod] == pod
        if life.container:
            ran = [events.CONTAINER_STARTED, events.CONTAINER_STOPPED] if life.started else []
            wanted = [events.CONTAINER_CREATED, *ran, events.CONTAINER_REMOVED]
            told = self.watch.told(life.container, wanted, 5)
            assert [kind for kind in told if kind != events.EXITED] == wanted
        stops = [one for one in self.watch.of(life.container) if one.kind == events.CONTAINER_STOPPED]
        # Of exits there may be more: a process that was killed before it ran the program had a successor.
        exits = [one for one in self.watch.of(life.container) if one.kind == events.EXITED]
        for one in (*stops, *exits[-1:]):
            unknown = life.unseen and (one.exit_known, one.exit_code) == (False, 255)
            assert (one.exit_known, one.exit_code) == (True, life.code) or unknown, one
        assert self.watch.twice() == []

    def _heard(self, life: Life) -> None:
        """By a client of CRI: of this life every event once, in order, and of nobody else who is over."""
        if self.news is None:
            return
        for id, kinds in life.heard().items():
            found = self.news.of(id, len(kinds), 5)
            assert found == kinds, found
        for id in self.news.ids() - set(life.heard()) - set(self._ours()) - self.known:
            kinds = self.news.of(id, 0, 0)  # made, but its client never heard of it: it lived, and is gone
            assert len(set(kinds)) == len(kinds), (id, kinds)
            assert kinds[-1] == "CONTAINER_DELETED_EVENT", (id, kinds)

    def _at_rest(self) -> None:
        """Nobody is still at anything."""

        def resting() -> bool:
            return not self.watch.going()

        try:
            until(resting, 8, "everybody rests")
        except AssertionError:
            raise AssertionError(self.watch.going()) from None

    def _goes_on(self) -> None:
        """The bystander still writes, and every line is there once."""
        seen = self.bystander.written()
        until(lambda: self.bystander.written() > seen, 5, "the bystander goes on")
        lines = self.bystander.lines()
        if not self.bystander.orphaned:
            check_lines(lines, whole=False)
        if len(lines) > 5000:
            self.renew()

    def renew(self) -> None:
        """Another bystander: this one's log is long enough, or its keeper was killed."""
        old = self.bystander
        self.known |= set(self._ours())
        self.bystander = self._another()
        finish(old)
        self._told(old)

    def said(self, since: float) -> str:
        """What the services logged from then on (seconds since the epoch)."""
        begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
        lines = [
            f"{path.stem}: {line}"
            for path in (self.node.root / "log").glob("*.log")
            for line in path.read_text(errors="replace").splitlines()
            if begin <= line[9:].lstrip('"')[: len(begin)] or "Error" in line[:60]
        ]
        return "\n".join(lines[-60:])

    def guarded(self) -> None:
        """Wait until there is a guard again."""
        if self.starting is not None:
            assert self.starting.wait(40) == 0
            self.starting = None

    def sweep(self) -> None:
        """After a case that failed: away with everybody but the bystander, for the sake of the next, which is
        not to be blamed for what is still there."""
        for one in self.client.ask("ListPodSandbox", pb.ListPodSandboxRequest()).items:
            if one.id != self.bystander.id:
                self.client.ask("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=one.id))
        for folder in (self.node.run_dir / "containers").iterdir():
            if folder.name != self.bystander.container:
                self.watch.call(executor.DELETE, executor.Named(container=folder.name))
        self.leaks.settle(self._ours())

    def end(self) -> None:
        """The last proof: without the bystander there is nothing at all."""
        finish(self.bystander)
        self.node.assert_clean()

    def close(self) -> None:
        self.watch.close()
        self.client.close()


def finish(life: Life) -> None:
    """To its end, from wherever it is; its output and its exit code are right."""
    if life.started and life.code < 0:
        life.writing()
        seen = life.written()
        until(lambda: life.written() > seen, 5, "it goes on writing")
        life.stop()
    if life.started and life.code in (7, 42) and not life.gone:
        found = life.status()
        unknown = life.unseen and (found.exit_code, found.reason) == (255, "Unknown")
        assert found.state == pb.CONTAINER_EXITED, found
        assert found.exit_code == life.code or unknown, found
    if life.orphaned:
        check_order(life.lines())
    elif life.started:
        check_lines(life.lines(), whole=life.code in (7, 42))
    if life.id and not life.gone:
        life.stop_pod()
        life.remove_pod()


@contextmanager
def _shared(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount.bind(str(folder), str(folder))
    try:
        mount.change(str(folder), mount.MS_SHARED)
        yield
    finally:
        mount.umount(str(folder))


@contextmanager
def world(base: Path, **more: str) -> Iterator[World]:
    """A node whose every step can be halted. `more` goes into its environment."""
    faults = Faults(base / "faults")

    def prepared(node: Node) -> None:
        faults.laid_for(node)
        node.env.update(more)

    with registry.serve(base / "registry") as images:
        layer = registry.layer(base, registry.tar([registry.Entry("file", b"x" * 100_000)]))
        images.push("small", registry.Image([layer]), "v1")
        with _shared(base / "shared"), harness.node(base, before=prepared) as node:
            one = World(node, faults, f"{images.host}/small:v1")
            try:
                yield one
                one.end()
            finally:
                one.close()
