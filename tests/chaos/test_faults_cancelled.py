"""Every call given up by its client at every step that it passes, and made again: one object, in the right
state, and nothing left over.

Whoever does the step is halted there; the client cancels its call and makes the same one again, once that
process has gone on, or, as the kubelet does, while it is still halted. $CRIBUS_SEED chooses which of the two
each step gets; `CRIBUS_MATRIX=all pytest tests/chaos/test_faults_cancelled.py` does both with each.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from cribus.gateway.cri import api_pb2 as pb

from tests.chaos.lives import Life
from tests.chaos.operations import OPERATIONS
from tests.chaos.world import World
from tests.cri import Cri

ALL = os.environ.get("CRIBUS_MATRIX") == "all"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
_JOINED = 0.1  # seconds in which what a client sends reaches a gateway that is halted
_AWAY = 0.03  # seconds in which an answer that had left the gateway is here
_PATIENCE = 60.0


class Call(NamedTuple):
    """A call about the life that `prepare` makes. `took` is what its answer means for that life, and what
    must be there then."""

    method: str
    prepare: Callable[[World], Life]
    request: Callable[[World, Life], Any]
    took: Callable[[World, Life, Any], None]


def _run(world: World, life: Life) -> Any:
    return pb.RunPodSandboxRequest(config=life.config)


def _ran(world: World, life: Life, answer: Any) -> None:
    life.id = answer.pod_sandbox_id
    listed = world.client.once("ListPodSandbox", pb.ListPodSandboxRequest()).items
    found = [(one.id, one.state) for one in listed if one.metadata.name == life.name]
    assert found == [(life.id, pb.SANDBOX_READY)]


def _create(world: World, life: Life) -> Any:
    return pb.CreateContainerRequest(pod_sandbox_id=life.id, config=life.main, sandbox_config=life.config)


def _created(world: World, life: Life, answer: Any) -> None:
    life.container = answer.container_id
    _is(world, life, pb.CONTAINER_CREATED)


def _is(world: World, life: Life, state: int) -> None:
    """The pod has this one container."""
    listed = world.client.once("ListContainers", pb.ListContainersRequest()).containers
    assert [(one.id, one.state) for one in listed if one.pod_sandbox_id == life.id] == [(life.container, state)]


def _named(kind: type[Any], **more: Any) -> Callable[[World, Life], Any]:
    return lambda world, life: kind(container_id=life.container, **more)


def _started(world: World, life: Life, answer: Any) -> None:
    life.started = True
    _is(world, life, pb.CONTAINER_RUNNING)


def _executed(world: World, life: Life, answer: Any) -> None:
    assert (answer.stdout.decode().strip(), answer.exit_code) == (life.name, 3)


def _stopped(code: int) -> Callable[[World, Life, Any], None]:
    def took(world: World, life: Life, answer: Any) -> None:
        life.code = code
        _is(world, life, pb.CONTAINER_EXITED)

    return took


def _removed(world: World, life: Life, answer: Any) -> None:
    life.code = 137
    listed = world.client.once("ListContainers", pb.ListContainersRequest()).containers
    assert [one.id for one in listed if one.pod_sandbox_id == life.id] == []


def _pod_stopped(world: World, life: Life, answer: Any) -> None:
    life.code = 137
    status = world.client.once("PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id=life.id)).status
    assert status.state == pb.SANDBOX_NOTREADY
    _is(world, life, pb.CONTAINER_EXITED)


def _pod_removed(world: World, life: Life, answer: Any) -> None:
    life.code, life.gone = 137, True
    listed = world.client.once("ListPodSandbox", pb.ListPodSandboxRequest()).items
    assert life.id not in [one.id for one in listed]


def _image(kind: type[Any]) -> Callable[[World, Life], Any]:
    return lambda world, life: kind(image=pb.ImageSpec(image=world.image))


def _there(world: World) -> bool:
    status = world.client.once("ImageStatus", pb.ImageStatusRequest(image=pb.ImageSpec(image=world.image)))
    return bool(status.HasField("image"))


def _pulled(world: World, life: Life, answer: Any) -> None:
    assert answer.image_ref
    assert _there(world)
    world.client.once("RemoveImage", pb.RemoveImageRequest(image=pb.ImageSpec(image=world.image)))


def _with_image(world: World) -> Life:
    world.client.once("PullImage", pb.PullImageRequest(image=pb.ImageSpec(image=world.image)))
    return world.life()


def _image_removed(world: World, life: Life, answer: Any) -> None:
    assert not _there(world)


def _before(operation: str) -> Callable[[World], Life]:
    return OPERATIONS[operation].prepare


def _of_pod(kind: type[Any]) -> Callable[[World, Life], Any]:
    return lambda world, life: kind(pod_sandbox_id=life.id)


def _moved(world: World) -> Life:
    """Its log was moved away, as by a rotation."""
    life = OPERATIONS["reopen-log"].prepare(world)
    life.log.rename(life.folder / "main.log.0")
    return life


def _reopened(world: World, life: Life, answer: Any) -> None:
    assert life.log.exists()


_EXEC = {"cmd": ["sh", "-c", "echo $HOSTNAME; exit 3"], "timeout": 20}
CALLS = {
    "run": Call("RunPodSandbox", _before("run"), _run, _ran),
    "create": Call("CreateContainer", _before("create"), _create, _created),
    "start": Call("StartContainer", _before("start"), _named(pb.StartContainerRequest), _started),
    "run-special": Call("RunPodSandbox", _before("run-special"), _run, _ran),
    "start-special": Call("StartContainer", _before("start-special"), _named(pb.StartContainerRequest), _started),
    "reopen-log": Call("ReopenContainerLog", _moved, _named(pb.ReopenContainerLogRequest), _reopened),
    "exec": Call("ExecSync", _before("exec-sync"), _named(pb.ExecSyncRequest, **_EXEC), _executed),
    "stop": Call("StopContainer", _before("stop"), _named(pb.StopContainerRequest, timeout=5), _stopped(42)),
    "kill": Call("StopContainer", _before("kill"), _named(pb.StopContainerRequest), _stopped(137)),
    "remove": Call("RemoveContainer", _before("remove-container"), _named(pb.RemoveContainerRequest), _removed),
    "stop-pod": Call("StopPodSandbox", _before("stop-pod"), _of_pod(pb.StopPodSandboxRequest), _pod_stopped),
    "remove-pod": Call("RemovePodSandbox", _before("remove-pod"), _of_pod(pb.RemovePodSandboxRequest), _pod_removed),
    "pull": Call("PullImage", _before("pull"), _image(pb.PullImageRequest), _pulled),
    "remove-image": Call("RemoveImage", _with_image, _image(pb.RemoveImageRequest), _image_removed),
}


@pytest.fixture(scope="module")
def cri(stage: World) -> Iterator[Cri]:
    one = Cri(stage.node)
    yield one
    one.close()


def _steps(stage: World, call: Call) -> list[str]:
    """What the call passes before it is answered, each time that it is made. Logs are written all the time."""
    found: list[list[str]] = []
    for _ in range(2):
        life = call.prepare(stage)
        with stage.faults.recorded() as passed:
            answer = stage.client.once(call.method, call.request(stage, life))
        call.took(stage, life, answer)
        stage.prove(life)
        found.append(passed)
    return [step for step in found[0] if step in found[1] and not step.startswith("shim.log.")]


@pytest.mark.parametrize("name", CALLS)
def test_given_up_at_each_step_and_made_again(stage: World, cri: Cri, name: str) -> None:
    print(f"CRIBUS_SEED={SEED}")
    call, draw = CALLS[name], random.Random(f"{SEED}-{name}")
    steps = _steps(stage, call)
    met = 0
    began = time.time()
    try:
        for step in steps:
            for early in (False, True) if ALL else (draw.random() < 0.5,):
                print(f"{step}, made again {'while it is halted' if early else 'afterwards'}")
                met += _given_up(stage, cri, call, (step, early))
    except BaseException:
        print(stage.said(began))
        stage.sweep()
        raise
    print(f"{met} halts at {len(steps)} steps")
    # What is told to others, three steps of some calls' five, may be passed just after the answer, as it was not when
    # they were counted.
    assert met >= 0.4 * len(steps)


def _given_up(stage: World, cri: Cri, call: Call, where: tuple[str, bool]) -> bool:
    """Whether the call was under way when the step was done."""
    step, early = where
    life = call.prepare(stage)
    request = call.request(stage, life)
    stub = cri.stub(call.method)
    again: list[Any] = []
    given_up: list[bool] = []

    def strike(_: int) -> str:
        with contextlib.suppress(grpc.FutureTimeoutError, grpc.RpcError):
            going.result(timeout=_AWAY)  # one that does not wait for this step would cross its cancellation
        given_up.append(going.cancel())
        if early and given_up[0]:
            again.append(stub.future(request, timeout=_PATIENCE))
        # The gateway, if it is not itself halted, answers this after it has heard what was sent before.
        after = cri.stub("Version").future(pb.VersionRequest())
        with contextlib.suppress(grpc.FutureTimeoutError):
            after.result(timeout=_JOINED)
        return ""

    going = stub.future(request, timeout=_PATIENCE)
    with stage.faults.halt(step, strike) as struck:
        while not going.done() and not struck.wait(0.01):
            pass
    if given_up != [True]:
        answer = going.result()
    elif again:
        answer = again[0].result()
    else:
        answer = stub(request, timeout=_PATIENCE)
    call.took(stage, life, answer)
    stage.prove(life)
    return given_up == [True]
