"""What RuntimeService does beyond forwarding a verb."""

import asyncio
from typing import Any

import pytest
from cribus.api import manager, shim
from cribus.api.cri import container as c
from cribus.api.cri import runtime as r
from cribus.api.cri import sandbox as s
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from cribus.gateway.cri import api_pb2
from cribus.gateway.method import Streaming, Unary
from cribus.gateway.runtime_service import UNLIMITED, Runtime

from tests.unit.gateway.stand import CONTAINER, POD, Calls, News, located


class Doors:
    """Remembers what was opened."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    def exec(self, request: shim.OpenExec) -> str:
        self.opened.append(request)
        return "http://exec"

    def attach(self, request: shim.OpenAttach, tty: bool) -> str:
        self.opened.append((request, tty))
        return "http://attach"

    def port_forward(self, namespace: str, ports: list[int]) -> str:
        self.opened.append((namespace, ports))
        return "http://forward"


def runtime(table: dict[Any, Any], doors: Doors | None = None) -> tuple[Runtime, Calls]:
    calls = Calls(table)
    return Runtime(calls, News(), doors or Doors(), "1.2.3"), calls


def ask(front: Runtime, name: str, request: Any, seconds: float = 5.0) -> Any:
    method = front.methods()[name]
    assert isinstance(method, Unary)

    async def run() -> Any:
        return await method.run(request, seconds)

    return asyncio.run(run())


def test_all_methods_with_the_wires_own_types() -> None:
    methods = runtime({})[0].methods()
    wire = api_pb2.DESCRIPTOR.services_by_name["RuntimeService"].methods
    assert set(methods) == {method.name for method in wire}
    for method in wire:
        known = methods[method.name]
        assert (known.request.__name__, known.answer.__name__) == (method.input_type.name, method.output_type.name)
        assert isinstance(known, Streaming) == method.server_streaming


def test_version_asks_nobody() -> None:
    front, calls = runtime({})
    answer = ask(front, "Version", r.VersionRequest())
    assert (answer.runtime_name, answer.runtime_version, answer.runtime_api_version) == ("cribus", "1.2.3", "v1")
    assert calls.asked == []


def test_a_checkpoint_may_take_a_little_longer_than_its_timeout() -> None:
    front, _ = runtime({})
    method = front.methods()["CheckpointContainer"]
    assert isinstance(method, Unary)
    assert method.patience(c.CheckpointContainerRequest(timeout=5)) == 20
    assert method.patience(c.CheckpointContainerRequest()) > 3600


def test_exec_sync_goes_straight_to_the_shim() -> None:
    front, calls = runtime({shim.EXEC_SYNC: lambda request: shim.ExecSyncDone(stdout=b"out", exit_code=3)})
    answer = ask(front, "ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["x"], timeout=2), 9.0)
    assert (answer.stdout, answer.exit_code) == (b"out", 3)
    assert calls.asked == [("exec_sync", shim.ExecSync(container=CONTAINER, cmd=["x"], timeout=2), CONTAINER, 9.0)]


@pytest.mark.parametrize(("out", "err"), [(20, 0), (0, 20), (20, 1), (1, 20), (9, 9), (4, 4)])
def test_output_is_cut_to_what_an_answer_holds(out: int, err: int) -> None:
    done = shim.ExecSyncDone(stdout=bytes(out << 20), stderr=bytes(err << 20), exit_code=-1)
    front, _ = runtime({shim.EXEC_SYNC: lambda request: done})
    answer = ask(front, "ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["x"]))
    message = api_pb2.ExecSyncResponse(stdout=answer.stdout, stderr=answer.stderr, exit_code=answer.exit_code)
    most = min(out + err << 20, (16 << 20) - 100)
    assert most <= message.ByteSize() <= 16 << 20
    assert min(len(answer.stdout), len(answer.stderr)) >= min(out << 20, err << 20, (8 << 20) - 100)


def test_exec_sync_of_an_unknown_container_is_not_found() -> None:
    def unknown(request: Any) -> Any:
        raise NotFound("no such container")

    front, _ = runtime({manager.LOCATE: unknown})
    with pytest.raises(NotFound):
        ask(front, "ExecSync", c.ExecSyncRequest(container_id="x", cmd=["y"]))


def test_exec_sync_and_log_of_a_container_that_does_not_run() -> None:
    table = {manager.LOCATE: lambda request: manager.Located(pod=POD, container=CONTAINER)}
    for name, request in (
        ("ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["y"])),
        ("ReopenContainerLog", c.ReopenContainerLogRequest(container_id=CONTAINER)),
    ):
        with pytest.raises(FailedPrecondition, match="is not running"):
            ask(runtime(table)[0], name, request)


def test_a_running_container_without_a_shim_is_unavailable() -> None:
    front, _ = runtime({manager.LOCATE: located()})
    with pytest.raises(Unavailable):
        ask(front, "ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["y"]))


def test_why_no_shim_answers_is_asked_at_once() -> None:
    table = {manager.LOCATE: lambda request: manager.Located(pod=POD, container=CONTAINER)}
    front, calls = runtime(table)
    with pytest.raises(FailedPrecondition):
        ask(front, "ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["y"]))
    assert [asked[0] for asked in calls.asked] == ["exec_sync", "locate"]


def test_a_shim_that_is_being_started_is_waited_for() -> None:
    answers = iter([None, None, shim.ExecSyncDone(exit_code=3)])

    def exec_sync(request: shim.ExecSync) -> shim.ExecSyncDone:
        answer = next(answers)
        if answer is None:
            raise Unavailable("nobody")
        return answer

    front, _ = runtime({manager.LOCATE: located(), shim.EXEC_SYNC: exec_sync})
    assert ask(front, "ExecSync", c.ExecSyncRequest(container_id=CONTAINER, cmd=["y"])).exit_code == 3


def test_the_beginning_of_an_id_is_made_whole() -> None:
    def exec_sync(request: shim.ExecSync) -> shim.ExecSyncDone:
        if request.container != CONTAINER:
            raise Unavailable("nobody")
        return shim.ExecSyncDone(exit_code=1)

    front, _ = runtime({manager.LOCATE: located(), shim.EXEC_SYNC: exec_sync})
    assert ask(front, "ExecSync", c.ExecSyncRequest(container_id="ccc", cmd=["y"])).exit_code == 1


def test_exec_sync_patience_follows_its_own_timeout() -> None:
    method = runtime({})[0].methods()["ExecSync"]
    assert isinstance(method, Unary)
    assert method.patience(c.ExecSyncRequest()) == UNLIMITED
    assert 10 < method.patience(c.ExecSyncRequest(timeout=10)) < 60


def test_a_stop_waits_out_the_grace_period() -> None:
    method = runtime({})[0].methods()["StopContainer"]
    assert isinstance(method, Unary)
    assert method.patience(c.StopContainerRequest(timeout=600)) > 600


def test_exec_opens_a_door_for_the_whole_id() -> None:
    doors = Doors()
    front, _ = runtime({manager.LOCATE: located()}, doors)
    request = c.ExecRequest(container_id="ccc", cmd=["sh"], tty=True, stdin=True, stdout=True)
    assert ask(front, "Exec", request).url == "http://exec"
    (opened,) = doors.opened
    assert (opened.container, opened.cmd, opened.tty, opened.stderr) == (CONTAINER, ["sh"], True, False)


@pytest.mark.parametrize(
    "request_",
    [
        c.ExecRequest(container_id="c", stdout=True),
        c.ExecRequest(container_id="c", cmd=["x"]),
        c.ExecRequest(container_id="c", cmd=["x"], tty=True, stdout=True, stderr=True),
    ],
)
def test_exec_that_makes_no_sense(request_: c.ExecRequest) -> None:
    with pytest.raises(InvalidArgument):
        ask(runtime({manager.LOCATE: located()})[0], "Exec", request_)


def test_attach_takes_the_terminal_from_the_container() -> None:
    doors = Doors()
    front, _ = runtime({manager.LOCATE: located(tty=True)}, doors)
    assert ask(front, "Attach", c.AttachRequest(container_id="c", stdout=True, stderr=True)).url == "http://attach"
    ((opened, tty),) = doors.opened
    assert (opened.stderr, tty) == (False, True)


def test_port_forward_names_the_pods_network() -> None:
    doors = Doors()
    front, _ = runtime({manager.LOCATE: located(netns="/run/ns")}, doors)
    ask(front, "PortForward", s.PortForwardRequest(pod_sandbox_id=POD, port=[80]))
    assert doors.opened == [("/run/ns", [80])]
    with pytest.raises(InvalidArgument, match="port"):
        ask(front, "PortForward", s.PortForwardRequest(pod_sandbox_id=POD, port=[0]))


def test_a_pod_that_is_not_ready_is_not_reached() -> None:
    doors = Doors()
    front, calls = runtime({manager.LOCATE: lambda request: manager.Located(pod=POD)}, doors)
    with pytest.raises(FailedPrecondition, match="not ready"):
        ask(front, "PortForward", s.PortForwardRequest(pod_sandbox_id=POD, port=[80]))
    assert calls.asked[0][1] == manager.Locate(id=POD, only_pods=True)
    assert doors.opened == []


def test_pods_are_no_containers() -> None:
    front, _ = runtime({manager.LOCATE: lambda request: manager.Located(pod=POD)})
    with pytest.raises(InvalidArgument, match="is a pod"):
        ask(front, "Exec", c.ExecRequest(container_id=POD, cmd=["x"], stdout=True))
