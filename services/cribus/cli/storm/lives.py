"""Living through what the plan says of one pod: each call until it succeeds, each answer noted for the proof."""

import asyncio
import contextlib
import os
import shutil
import time
from typing import Any, NamedTuple

from cribus.bus.connection import RETRY, pause
from cribus.cli.output import crilog
from cribus.cli.storm import image, plan
from cribus.cli.storm.client import PATIENCE, Client, heard
from cribus.cli.storm.evidence import Command, Lived, Pulled, Ran
from cribus.cli.storm.registry import Registry
from cribus.cli.storm.victims import Own
from cribus.cli.storm.watch import Watch
from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition

_GRACE = 20  # seconds that StopContainer gives a container that ends when it is told to


class Stage(NamedTuple):
    """Where lives take place. `folder` has their logs, `registry` the images that they pull."""

    client: Client
    watch: Watch
    seed: int
    image: str
    folder: str
    registry: Registry


def config(stage: Stage, name: str) -> dict[str, Any]:
    """A PodSandboxConfig: nothing of the host's, and its storm's name on it."""
    return {
        "metadata": {"name": name, "uid": f"{name}-{stage.folder.rpartition('-')[2]}", "namespace": plan.NAMESPACE},
        "hostname": name,
        "log_directory": f"{stage.folder}/{name}",
        "labels": {plan.LABEL: str(stage.seed)},
        "linux": {},
    }


class Living:
    """One pod while it lives; with `hold` its containers are not ended before that is set."""

    def __init__(self, stage: Stage, life: plan.Life, hold: asyncio.Event | None = None) -> None:
        self.running: dict[str, Own] = {}  # its containers that were started, until they are ended
        self.begun = asyncio.Event()  # one was, or there will be none
        self._hold = hold
        self.lived = Lived(life, f"storm-{stage.seed}-{life.number}", ran=[Ran(one) for one in life.containers])
        self._stage = stage
        self._hasty = dict(life.hasty)
        self._config = config(stage, self.lived.name)
        self._folder = self._config["log_directory"]

    async def live(self) -> Lived:
        """To the end, or to the first thing that does not succeed."""
        os.makedirs(self._folder)
        try:
            await self._live()
            self.lived.over = True
        except (CribusError, OSError) as error:
            self.running.clear()
            self.begun.set()
            self.lived.trouble = error.message if isinstance(error, CribusError) else str(error)
            self._read()
        return self.lived

    def forget(self) -> None:
        """All is proven: the logs are not needed any more."""
        shutil.rmtree(self._folder)
        for ran in self.lived.ran:
            ran.text = ""

    async def _live(self) -> None:
        if self.lived.plan.pull is not None:
            await self._pull(self.lived.plan.pull)
        self.lived.pod = (await self._ask("RunPodSandbox", config=self._config)).pod_sandbox_id
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._caught(number, ran)) for number, ran in enumerate(self.lived.ran)]
        for task in tasks:
            if (error := task.result()) is not None:
                raise error
        if all(ran.plan.end != plan.REMOVE for ran in self.lived.ran):
            await self._ask("StopPodSandbox", pod_sandbox_id=self.lived.pod)
        await self._ask("RemovePodSandbox", pod_sandbox_id=self.lived.pod)
        if self.lived.pulled is not None:
            await self._unpull(self.lived.pulled)
        self._read()

    async def _pull(self, pull: plan.Pull) -> None:
        name = str(self.lived.plan.number)
        made = await asyncio.to_thread(image.make, self.lived.name, pull)
        reference = self._stage.registry.offer(name, made, pull.faults)
        self.lived.pulled = Pulled(reference, made.id, made.own)
        try:
            self.lived.pulled.answered = (await self._ask("PullImage", image={"image": reference})).image_ref
        finally:
            self._stage.registry.withdraw(name)

    async def _unpull(self, pulled: Pulled) -> None:
        named = {"image": pulled.reference}
        await self._ask("RemoveImage", image=named)
        pulled.left = bool((await self._ask("ImageStatus", image=named)).image.id)

    async def _caught(self, number: int, ran: Ran) -> CribusError | OSError | None:
        """One container's error must not cut off the other's call."""
        try:
            await self._run(number, ran)
        except (CribusError, OSError) as error:
            return error
        return None

    async def _ask(self, method: str, **fields: Any) -> Any:
        if method not in self._hasty:
            return await self._stage.client.ask(method, **fields)
        answer = await self._stage.client.hurry(method, self._hasty.pop(method), **fields)
        if answer is not None:
            return answer
        return await self._stage.client.ask(method, **fields)

    async def _run(self, number: int, ran: Ran) -> None:
        request = {"pod_sandbox_id": self.lived.pod, "config": self._main(number, ran), "sandbox_config": self._config}
        ran.id = (await self._ask("CreateContainer", **request)).container_id
        await self._start(ran)
        ran.started = True
        self.running[ran.id] = Own(self.lived.pod, ran.id)
        self.begun.set()
        for deed in ran.plan.deeds:
            await self._do(deed, number, ran)
        if ran.plan.end == plan.EXIT:
            await self._stage.watch.ended(ran.id, PATIENCE)
        else:
            await self._written(number, ran)
            if self._hold is not None:
                await self._hold.wait()
        del self.running[ran.id]
        if ran.plan.end in (plan.TERM, plan.KILL):
            grace = _GRACE if ran.plan.end == plan.TERM else 0
            await self._ask("StopContainer", container_id=ran.id, timeout=grace)
        if ran.plan.end != plan.REMOVE:
            ran.code = (await self._ask("ContainerStatus", container_id=ran.id)).status.exit_code
            await self._ask("RemoveContainer", container_id=ran.id)

    async def _start(self, ran: Ran) -> None:
        """One that ends by itself may be over when a client asks again whose answer left just when he did, which nobody
        can know of: docs/decisions/0003-send-again.md."""
        try:
            await self._ask("StartContainer", container_id=ran.id)
        except FailedPrecondition:
            if ran.plan.end != plan.EXIT or "StartContainer" not in self.lived.plan.hasty:
                raise
            self._stage.client.again["StartContainer FAILED_PRECONDITION"] += 1
            await self._stage.watch.ended(ran.id, PATIENCE)

    def _main(self, number: int, ran: Ran) -> dict[str, Any]:
        pulled = self.lived.pulled
        return {
            "metadata": {"name": f"c{number}"},
            "image": {"image": pulled.reference if pulled else self._stage.image},
            "command": ["sh", "-c", plan.script(ran.plan, pulled=pulled is not None)],
            "log_path": f"{number}.log",
            "tty": ran.plan.tty,
            "linux": {},
        }

    async def _do(self, deed: plan.Deed, number: int, ran: Ran) -> None:
        """A container that ends by itself may do so at any time: then a deed may find it over."""
        try:
            if deed.kind == plan.EXEC:
                await self._exec(deed, ran)
            elif deed.kind == plan.ROTATE:
                await self._rotate(number, ran)
            else:
                await self._attach(ran)
        except CribusError as error:
            if ran.plan.end != plan.EXIT or isinstance(error, DeadlineExceeded):
                raise

    async def _exec(self, deed: plan.Deed, ran: Ran) -> None:
        words = ["sh", "-c", f"echo $HOSTNAME; exit {deed.code}"]
        answer = await self._ask("ExecSync", container_id=ran.id, cmd=words, timeout=10)
        if ran.plan.end == plan.EXIT and answer.exit_code == plan.KILLED:
            return  # it went with its container
        found = (answer.stdout.decode(errors="replace").strip(), answer.exit_code)
        ran.commands.append(Command((self.lived.name, deed.code), found))

    async def _rotate(self, number: int, ran: Ran) -> None:
        log = f"{self._folder}/{number}.log"
        with contextlib.suppress(FileNotFoundError):  # a rotation before this one was not followed yet
            os.rename(log, f"{log}.{time.time_ns()}")
        await self._ask("ReopenContainerLog", container_id=ran.id)

    async def _attach(self, ran: Ran) -> None:
        """Until something is heard. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await heard(self._stage.client, ran.id):
                    await pause(RETRY)
        except TimeoutError as error:
            raise DeadlineExceeded(f"attach to {ran.id[:13]} hears nothing within {PATIENCE:g} s") from error

    async def _written(self, number: int, ran: Ran) -> None:
        """Wait until it has written as many lines as the plan wants. Raises DeadlineExceeded."""
        path = f"{self._folder}/{number}.log"
        try:
            async with asyncio.timeout(PATIENCE):
                with crilog.Log(path) as log:
                    while _lines(path) < ran.plan.lines:
                        await log.changed()
        except TimeoutError as error:
            said = f"{_lines(path)} lines, not {ran.plan.lines}, within {PATIENCE:g} s"
            raise DeadlineExceeded(f"container {ran.id[:13]} wrote {said}") from error

    def _read(self) -> None:
        for number, ran in enumerate(self.lived.ran):
            ran.text = "".join(_text(one) for one in files(f"{self._folder}/{number}.log"))


def files(path: str) -> list[str]:
    """All files of a log, in order: what was rotated has its time behind its name."""
    folder, name = os.path.split(path)
    rotated = sorted(one for one in os.listdir(folder) if one.startswith(f"{name}."))
    return [f"{folder}/{one}" for one in rotated] + ([path] if os.path.exists(path) else [])


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return file.read()


def _lines(path: str) -> int:
    return sum(_text(one).count("\n") for one in files(path))
