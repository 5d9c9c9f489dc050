"""A whole storm: pods that live side by side, strikes one after the other, and the proof at the end."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple, Protocol

from cribus.bus.connection import RETRY, pause
from cribus.bus.service import Bus
from cribus.cli.session import connected
from cribus.cli.storm import client, image, leaks, others, plan, proof, registry, watch
from cribus.cli.storm.evidence import Finding, Hit, Lived, Result
from cribus.cli.storm.lives import Living, Stage
from cribus.cli.storm.others import Others
from cribus.cli.storm.plan import LABEL
from cribus.cli.storm.strikes import Striker
from cribus.cli.storm.victims import Own
from cribus.cli.supervisor import configuration, control
from cribus.config import Settings
from cribus.errors import FailedPrecondition

_SETTLE = 10.0  # seconds until nothing may be left
_BYSTANDER = plan.Life(0, (plan.Container(plan.TERM, 42, 1, 10_000, False, ()),), {})
_LOST = 3  # lives with findings after which the storm is called off


class Wish(NamedTuple):
    """What is asked for. `kills` 0: as many as there are in the time."""

    seed: int
    seconds: float
    kills: int
    pods: int
    kinds: list[str]


class News(Protocol):
    """Whoever shows how it goes."""

    def phase(self, text: str) -> None: ...
    def lived(self, lived: Lived) -> None: ...
    def hit(self, hit: Hit) -> None: ...
    def found(self, finding: Finding) -> None: ...


class _Before(NamedTuple):
    others: Others
    orphans: set[str]


class Storm:
    """`over` is set when it shall end: its time is up, or somebody said so."""

    def __init__(self, settings: Settings, wish: Wish, news: News) -> None:
        self.over = asyncio.Event()
        self.interrupted = False
        self._settings, self._wish, self._news = settings, wish, news
        self._living: dict[int, Living] = {}
        self._lives: list[Lived] = []
        self._hits: list[Hit] = []
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._counts: Counter[str] = Counter()
        self._registry = registry.Registry()
        self._number = 0

    def interrupt(self) -> None:
        """Let it come to its end now: clean up and say what was found so far."""
        self.interrupted = True
        self.over.set()

    async def run(self) -> Result:
        """All of it. Raises CribusError when it cannot begin."""
        socket = self._settings.gateway.socket
        with _alone(self._settings):
            async with connected(self._settings) as bus, client.connected(socket) as asking:
                await _cleared(asking)
                before = _Before(await others.running(bus), leaks.orphans(self._settings))
                async with self._stage(bus, asking) as stage:
                    began = time.monotonic()
                    try:
                        await self._blow(stage, bus)
                    finally:
                        took = time.monotonic() - began
                        self._news.phase("proving")
                        left = await _cleared(asking)
                    self._found([Finding(proof.STUCK, f"{one} was still there at the end") for one in left])
                    await self._prove(stage, bus, before)
                return self._result(took, asking)

    @contextlib.asynccontextmanager
    async def _stage(self, bus: Bus, asking: client.Client) -> AsyncIterator[Stage]:
        """Image, logs and a reader of events; none of it is there afterwards, but the logs of what went wrong."""
        folder = tempfile.mkdtemp(prefix=f"chaos-{self._wish.seed}-", dir=configuration.logs(self._settings))
        try:
            await image.load(bus, folder)
            async with watch.watching(bus, (LABEL, str(self._wish.seed))) as watching, self._registry.serving():
                yield Stage(asking, watching, self._wish.seed, image.REFERENCE, folder, self._registry)
        finally:
            await image.remove(bus)
            if not self._findings:
                shutil.rmtree(folder)
            else:
                self._notes.append(f"the logs of pods with findings are in {folder}")

    async def _blow(self, stage: Stage, bus: Bus) -> None:
        self._news.phase("blowing")
        hold = asyncio.Event()
        bystander = Living(stage, _BYSTANDER, hold)
        staying = asyncio.create_task(self._live(bystander))
        try:
            await bystander.begun.wait()
            if not bystander.running:
                return  # what is wrong was found already
            timer = asyncio.get_running_loop().call_later(self._wish.seconds, self.over.set)
            async with asyncio.TaskGroup() as group:
                for _ in range(self._wish.pods):
                    group.create_task(self._pods(stage))
                group.create_task(self._strikes(Striker(self._settings, stage.client, bus, self._running)))
            timer.cancel()
        finally:
            hold.set()
            await staying

    def _running(self) -> list[Own]:
        """Containers of the storm that run, the oldest first."""
        return [own for _, living in sorted(self._living.items()) for own in living.running.values()]

    async def _pods(self, stage: Stage) -> None:
        """One pod after the other."""
        while not self.over.is_set():
            self._number += 1
            await self._live(Living(stage, plan.life(self._wish.seed, self._number)))

    async def _live(self, living: Living) -> None:
        number = living.lived.plan.number
        self._living[number] = living
        lived = await living.live()
        del self._living[number]
        self._lives.append(lived)
        self._count(lived)
        found = proof.of(lived)
        self._found(found)
        if not found:
            living.forget()
        elif len({one.text.partition(":")[0] for one in self._findings}) >= _LOST:
            self.over.set()
        self._news.lived(lived)

    def _count(self, lived: Lived) -> None:
        self._counts["pods"] += 1
        self._counts["images"] += lived.pulled is not None and bool(lived.pulled.answered)
        for ran in lived.ran:
            self._counts["containers"] += ran.started
            self._counts["lines"] += ran.text.count("\n")
            self._counts["exit codes"] += ran.code is not None
            self._counts["commands"] += len(ran.commands)

    async def _strikes(self, striker: Striker) -> None:
        began, number = time.monotonic(), 0
        while not self.over.is_set():
            number += 1
            hit = await striker.strike(plan.strike(self._wish.seed, number, self._wish.kinds), began)
            self._hits.append(hit)
            self._news.hit(hit)
            if hit.trouble:
                self._found([Finding(proof.STUCK, hit.trouble)])
                self.over.set()
            if self._wish.kills and sum(len(one.pids) for one in self._hits) >= self._wish.kills:
                self.over.set()

    async def _prove(self, stage: Stage, bus: Bus, before: _Before) -> None:
        """What only the end can show."""
        watching = stage.watch
        if not await watching.whole(bus):
            self._found([Finding(proof.EVENTS, "the last events of the stream did not come")])
        pods = watching.ours | {lived.pod for lived in self._lives if lived.pod}
        ours = [one for one in watching.told if one.pod in pods]
        self._counts["events"] = len(ours)
        self._found(proof.wrong_events(self._lives, ours) + proof.strangers(self._lives, ours))
        ids = pods | {one.id for one in ours} | {ran.id for lived in self._lives for ran in lived.ran if ran.id}
        ids |= {digest.removeprefix("sha256:") for one in self._lives if one.pulled for digest in one.pulled.own}
        self._found([Finding(proof.LEAKS, one) for one in await self._left(ids, before)])
        self._found([Finding(proof.NODE, one) for one in await self._sick()])
        wrong, notes = await others.ended(bus, before.others, await others.running(bus))
        self._found([Finding(proof.NODE, one) for one in wrong])
        self._notes += notes

    async def _left(self, ids: set[str], before: _Before) -> list[str]:
        """What is left of these, once nothing more goes or so long has passed."""
        end = time.monotonic() + _SETTLE
        while True:
            found = await asyncio.to_thread(leaks.left, self._settings, ids)
            found += sorted(leaks.orphans(self._settings) - before.orphans)
            found += await leaks.keys(self._settings, ids)
            if not found or time.monotonic() > end:
                return found
            await pause(RETRY)

    async def _sick(self) -> list[str]:
        """Services that do not run."""
        programs = await asyncio.to_thread(control.programs, self._settings)
        return [f"service {one.name} is {one.state}" for one in programs if one.state not in ("RUNNING", "STARTING")]

    def _found(self, findings: list[Finding]) -> None:
        self._findings += findings
        for one in findings:
            self._news.found(one)

    def _result(self, took: float, asking: client.Client) -> Result:
        return Result(
            seed=self._wish.seed,
            seconds=round(took, 1),
            hits=self._hits,
            lives=len(self._lives),
            counts=dict(self._counts),
            again=dict(asking.again),
            faults=dict(self._registry.faults),
            findings=self._findings,
            interrupted=self.interrupted,
            notes=self._notes,
        )


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Raises FailedPrecondition while another storm is on this node."""
    descriptor = os.open(f"{settings.run}/chaos.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise FailedPrecondition("there is a storm on this node already; wait for its end") from error
    finally:
        os.close(descriptor)


async def _cleared(asking: client.Client) -> list[str]:
    """Remove every pod and every pulled image that a storm has left, this one or one that was killed: their names.

    An image goes with every name that it has: one that somebody has given a name of his own is his.
    """
    listed = (await asking.ask("ListPodSandbox")).items
    left = [one for one in listed if LABEL in one.labels]
    for one in left:
        await asking.ask("RemovePodSandbox", pod_sandbox_id=one.id)
    named = [one.id for one in (await asking.ask("ListImages")).images if _storms(_names(one))]
    for id in named:
        await asking.ask("RemoveImage", image={"image": id})
    return [f"pod {one.metadata.name}" for one in left] + [f"image {id}" for id in named]


def _storms(names: list[str]) -> bool:
    return bool(names) and all(map(registry.ours, names))


def _names(one: Any) -> list[str]:
    return [*one.repo_tags, *one.repo_digests]
