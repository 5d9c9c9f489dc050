"""CheckpointContainer: the order of things, what is in the folder, and that nothing is left."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cribus.api import executor, images
from cribus.api.cri import container as c
from cribus.api.verb import Empty
from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound
from cribus.manager import container_checkpoint, container_stop

from tests.unit.manager.conftest import Run, World


def ask(world: World, id: str, location: str = "", timeout: int = 0) -> Any:
    request = c.CheckpointContainerRequest(container_id=id, location=location or f"{world.base}/a.tar", timeout=timeout)
    return container_checkpoint.checkpoint(world.node, request)


def work(world: World) -> list[str]:
    """What was done of it, in order."""
    kinds = ("pause", "checkpoint", "capture", "resume", "pack")
    return [name.partition(".")[2] for name in world.names() if name.partition(".")[2] in kinds]


def left(world: World) -> list[str]:
    folder = Path(container_checkpoint.home(world.node))
    return os.listdir(folder) if folder.exists() else []


def test_a_running_one(world: World, run: Run) -> None:
    packed: dict[str, Any] = {}

    def pack(request: images.Pack) -> Empty:
        assert request.location == f"{world.base}/a.tar"
        assert request.log == "/logs/pod/main.log"
        assert time.monotonic_ns() < request.until < time.monotonic_ns() + container_checkpoint.PATIENCE * 1e9
        packed.update({path.name: json.loads(path.read_text()) for path in Path(request.folder).iterdir()})
        return Empty()

    world.answers["images.pack"] = pack

    async def story() -> None:
        volume = world.base / "volume"
        mounts = [c.Mount(container_path="/data", host_path=str(volume))]
        id = await world.running(await world.pod(), mounts=mounts)
        await ask(world, id)
        assert work(world) == ["pause", "checkpoint", "capture", "resume", "pack"]
        assert packed["config.dump"]["id"] == id
        assert packed["config.dump"]["rootfsImage"] == "localhost/busybox:latest"
        assert packed["config.dump"]["createdTime"].endswith("Z")
        assert packed["spec.dump"]["annotations"]["io.kubernetes.cri.container-name"] == "main"
        assert packed["status.dump"]["id"] == id
        (bind,) = packed["bind.mounts"]
        assert bind == {"source": str(volume), "destination": "/data", "file_type": "directory"}
        assert left(world) == []
        await container_stop.stop(world.node, c.StopContainerRequest(container_id=id))

    run(story())


@pytest.mark.parametrize("step", ["executor.pause", "executor.checkpoint", "images.capture", "images.pack"])
def test_whatever_fails_it_goes_on_and_nothing_is_left(world: World, run: Run, step: str) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.fail[step] = [Internal("no luck")]
        with pytest.raises(Internal, match="no luck"):
            await ask(world, id)
        assert "resume" in work(world)
        assert left(world) == []

    run(story())


def test_a_host_without_criu(world: World, run: Run) -> None:
    world.answers["executor.criu"] = lambda _: executor.Criu(missing="criu is not installed")

    async def story() -> None:
        id = await world.running(await world.pod())
        with pytest.raises(FailedPrecondition, match="this host cannot checkpoint or restore: criu is not installed"):
            await ask(world, id)
        assert work(world) == []

    run(story())


def test_one_that_does_not_run(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        with pytest.raises(FailedPrecondition, match="is created: only a running one"):
            await ask(world, await world.created(pod))
        with pytest.raises(NotFound):
            await ask(world, "f" * 64)

    run(story())


def test_wrong_places(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        for place in ("relative.tar", f"{world.base}/", str(world.base), f"{world.base}/nowhere/a.tar", "/dev/null"):
            with pytest.raises(InvalidArgument, match="location"):
                await ask(world, id, place)
        with pytest.raises(InvalidArgument, match="negative"):
            await ask(world, id, timeout=-1)
        assert work(world) == []

    run(story())


def test_a_timeout_is_answered_at_once_and_undone(world: World, run: Run) -> None:
    """criu takes its time; the client does not wait for its end, the container does."""

    async def story() -> None:
        id = await world.running(await world.pod())
        hangs = asyncio.Event()
        real = world.call

        async def call(verb: Any, request: Any, /, **more: Any) -> Any:
            if verb is executor.CHECKPOINT:
                await hangs.wait()
            return await real(verb, request, **more)

        world.node.call = call
        with pytest.raises(DeadlineExceeded, match="within 1 s"):
            await ask(world, id, timeout=1)
        await world.asked_for("executor.resume")
        await container_stop.stop(world.node, c.StopContainerRequest(container_id=id))  # waits for the undoing
        assert left(world) == []
        assert "pack" not in work(world)

    run(story())


def test_one_that_ends_meanwhile_is_no_error_of_its_end(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.fail["executor.resume"] = [FailedPrecondition("does not run")]
        world.exit(id, 0)
        await container_checkpoint.resume(world.node, id)

    run(story())


def test_a_manager_that_starts_lets_go_on_what_was_paused(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        container_checkpoint.resume_later(world.node, id)
        await world.asked_for("executor.resume")

    run(story())


def test_one_that_cannot_go_on_is_told(world: World, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        error: CribusError = Internal("frozen for ever")
        world.fail["executor.resume"] = [error]
        container_checkpoint.resume_later(world.node, id)
        await world.asked_for("executor.resume")
        await asyncio.gather(*container_checkpoint._undoing)

    run(story())
    assert "stays paused" in caplog.text
