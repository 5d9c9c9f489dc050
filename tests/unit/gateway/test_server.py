"""CRI on its socket: errors, deadlines, takeover, and the real crictl."""

import asyncio
import contextlib
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from cribus import errors
from cribus.api import images, manager
from cribus.api.cri import container as c
from cribus.api.cri import image as i
from cribus.api.cri import sandbox as s
from cribus.api.cri import stats as u
from cribus.api.cri.values import ContainerState
from cribus.api.events import CONTAINER_STARTED, Event
from cribus.api.paging import Paged
from cribus.gateway import server
from cribus.gateway.cri import api_pb2 as pb
from cribus.gateway.cri import api_pb2_grpc as stubs

from tests.unit.gateway.stand import CONTAINER, POD, Calls, Shim, crictl, gateway, needs_crictl, program

TABLE: dict[Any, Any] = {
    images.FS_INFO: lambda request: u.ImageFsInfoResponse(),
    images.LIST: lambda request: i.ListImagesResponse(images=[i.Image(id="1" * 64, repo_tags=["a/b:7"], size=5)]),
    manager.LIST_SANDBOXES: lambda request: s.ListPodSandboxResponse(
        items=[s.PodSandbox(id=POD, metadata=s.PodSandboxMetadata(name="web", namespace="shop"))]
    ),
    manager.LIST_CONTAINERS: lambda request: c.ListContainersResponse(
        containers=[
            c.Container(
                id=CONTAINER,
                pod_sandbox_id=POD,
                metadata=c.ContainerMetadata(name="nginx"),
                image=i.ImageSpec(image="a/b:7"),
                state=ContainerState.CONTAINER_RUNNING,
            )
        ]
    ),
}


async def _asked(endpoint: str, name: str, request: Any, **how: Any) -> Any:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        return await getattr(stubs.RuntimeServiceStub(channel), name)(request, **how)


def _status(tmp_path: Path, answer: Any, **how: Any) -> grpc.aio.AioRpcError:
    """How CreateContainer fails when the manager does `answer`."""

    async def run() -> grpc.aio.AioRpcError:
        async with gateway(tmp_path, Calls({manager.CREATE_CONTAINER: answer}), Shim(program)) as endpoint:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _asked(endpoint, "CreateContainer", pb.CreateContainerRequest(), **how)
            return caught.value

    return asyncio.run(run())


@pytest.mark.parametrize("kind", errors.CribusError.__subclasses__(), ids=lambda kind: str(kind.code))
def test_each_error_is_the_status_of_its_name(tmp_path: Path, kind: type[errors.CribusError]) -> None:
    def fail(request: Any) -> Any:
        raise kind("a sentence: what to do")

    failed = _status(tmp_path, fail)
    assert (failed.code().name, failed.details()) == (kind.code, "a sentence: what to do")


def test_a_defect_is_internal_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failed = _status(tmp_path, lambda request: 1 / 0)
    assert failed.code() == grpc.StatusCode.INTERNAL
    assert "CreateContainer failed inside the gateway (ZeroDivisionError" in str(failed.details())
    assert "ZeroDivisionError" in caplog.text


def test_unknown_enumeration_is_invalid(tmp_path: Path) -> None:
    async def run() -> grpc.aio.AioRpcError:
        async with gateway(tmp_path, Calls({}), Shim(program)) as endpoint:
            request = pb.CreateContainerRequest()
            request.config.stop_signal = 4711
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _asked(endpoint, "CreateContainer", request)
            return caught.value

    assert asyncio.run(run()).code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_deadline_travels_and_ends_before_the_clients(tmp_path: Path) -> None:
    calls = Calls({manager.STATUS: lambda request: asyncio.sleep(0, manager.STATUS.answer())})

    async def run() -> None:
        async with gateway(tmp_path, calls, Shim(program)) as endpoint:
            await _asked(endpoint, "Status", pb.StatusRequest(), timeout=8.0)
            await _asked(endpoint, "Status", pb.StatusRequest())

    asyncio.run(run())
    assert 7.0 < calls.asked[0][3] < 7.95
    assert calls.asked[1][3] == 120.0


def test_a_client_that_leaves_cancels(tmp_path: Path) -> None:
    cancelled = []

    async def hang(request: Any) -> Any:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert _status(tmp_path, hang, timeout=0.3).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert cancelled == [True]


def test_an_answer_that_comes_when_the_client_has_just_left_is_given_back() -> None:
    """gRPC cancels the method's task after the method's own work was done, and takes the cancellation itself."""

    async def run() -> list[str]:
        left: list[str] = []
        leaving = asyncio.Event()

        async def leave() -> None:
            left.append("left")
            leaving.set()

        async def ends() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await server._unless_delivered([leave])

        delivered = asyncio.create_task(ends())
        await delivered
        cancelled = asyncio.create_task(ends())
        await asyncio.sleep(0)
        cancelled.cancel()
        await leaving.wait()
        return left

    assert asyncio.run(run()) == ["left"]


def test_a_second_gateway_takes_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway(tmp_path, Calls({}), Shim(program)):
            mode = (tmp_path / "cribus.sock").stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o660
            first = (tmp_path / "cribus.sock").stat().st_ino
            async with gateway(tmp_path, Calls({}), Shim(program)) as endpoint:
                assert (tmp_path / "cribus.sock").stat().st_ino != first
                assert (await _asked(endpoint, "Version", pb.VersionRequest())).runtime_name == "cribus"

    asyncio.run(run())


def test_one_that_nobody_finds_any_more_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LOOK", 0.01)
    path = tmp_path / "cribus.sock"

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            ours = path.stat().st_ino
            assert await _ends(server._deserted(str(path), ours)) is False, "it is ours"
            other.listen()
            assert await _ends(server._deserted(str(path), ours + 1)) is False, "another answers there"
        assert await _ends(server._deserted(str(path), ours + 1)), "nobody answers there"

    asyncio.run(run())


async def _ends(waiting: Any) -> bool:
    """Whether it ends soon."""
    try:
        async with asyncio.timeout(0.3):
            await waiting
    except TimeoutError:
        return False
    return True


def test_lists_and_events_stream(tmp_path: Path) -> None:
    news = [Event(kind=CONTAINER_STARTED, id=CONTAINER, pod=POD, at=5)]
    table = {
        **TABLE,
        manager.SANDBOX_STATUS: lambda request: c.PodSandboxStatusResponse(),
        manager.PAGE_SANDBOXES: lambda request: Paged(part=TABLE[manager.LIST_SANDBOXES](None)),
    }

    async def run() -> None:
        async with (
            gateway(tmp_path, Calls(table), Shim(program), news) as endpoint,
            grpc.aio.insecure_channel(endpoint) as channel,
        ):
            stub = stubs.RuntimeServiceStub(channel)
            pages = [page async for page in stub.StreamPodSandboxes(pb.StreamPodSandboxesRequest())]
            assert [pod.id for page in pages for pod in page.pod_sandboxes] == [POD]
            told = [event async for event in stub.GetContainerEvents(pb.GetEventsRequest())]
            assert [(one.container_id, one.created_at) for one in told] == [(CONTAINER, 5)]

    asyncio.run(run())


def test_a_message_of_16_mib(tmp_path: Path) -> None:
    calls = Calls({manager.CREATE_CONTAINER: lambda request: c.CreateContainerResponse(container_id="x" * (15 << 20))})

    async def run() -> None:
        async with gateway(tmp_path, calls, Shim(program)) as endpoint:
            options = [("grpc.max_receive_message_length", -1)]
            async with grpc.aio.insecure_channel(endpoint, options=options) as channel:
                request = pb.CreateContainerRequest(pod_sandbox_id="p" * (15 << 20))
                answer = await stubs.RuntimeServiceStub(channel).CreateContainer(request)
                assert len(answer.container_id) == 15 << 20

    asyncio.run(run())


@needs_crictl
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["version"], ["RuntimeName:  cribus", "RuntimeApiVersion:  v1"]),
        (["pods"], [POD[:13], "web", "shop", "Ready"]),
        (["ps"], [CONTAINER[:13], "nginx", "Running"]),
        (["images"], ["a/b", "7", "1" * 13]),
    ],
)
def test_crictl(tmp_path: Path, command: list[str], expected: list[str]) -> None:
    async def run() -> tuple[int, str, str]:
        async with gateway(tmp_path, Calls(TABLE), Shim(program)) as endpoint:
            return await crictl(endpoint, *command)

    code, out, err = asyncio.run(run())
    assert code == 0, err
    assert all(word in out for word in expected), out


async def _told(tmp_path: Path, table: dict[Any, Any], ask: Any, begun: asyncio.Event) -> list[Any]:
    """What clients see of calls to a gateway that is told to stop when those have begun."""
    async with contextlib.AsyncExitStack() as node:
        endpoint = await node.enter_async_context(gateway(tmp_path, Calls(table), Shim(program)))
        async with grpc.aio.insecure_channel(endpoint) as channel:
            asked = [asyncio.ensure_future(one) for one in ask(stubs.RuntimeServiceStub(channel))]
            await begun.wait()
            await node.aclose()
            ends = await asyncio.gather(*asked, return_exceptions=True)
            return [(one.code().name, one.details()) if isinstance(one, grpc.RpcError) else one for one in ends]


ENDS = ("UNAVAILABLE", server._ENDS)


def test_a_call_that_outlasts_the_gateway_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_GRACE", 0.2)

    async def run() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(request: Any) -> Any:
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.set()

        def ask(stub: Any) -> list[Any]:
            return [stub.CreateContainer(pb.CreateContainerRequest())]

        assert await _told(tmp_path, {manager.CREATE_CONTAINER: hang}, ask, begun) == [ENDS]
        assert cancelled.is_set()

    asyncio.run(run())


def test_a_call_that_ends_in_time_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        begun, ending = asyncio.Event(), asyncio.Event()
        end = server._Answering.end

        async def told(answering: Any) -> None:
            ending.set()  # who waits for it runs when this one waits for him
            await end(answering)

        monkeypatch.setattr(server._Answering, "end", told)

        async def slow(request: Any) -> Any:
            begun.set()
            await ending.wait()
            return c.CreateContainerResponse(container_id=CONTAINER)

        def ask(stub: Any) -> list[Any]:
            return [stub.CreateContainer(pb.CreateContainerRequest())]

        (answer,) = await _told(tmp_path, {manager.CREATE_CONTAINER: slow}, ask, begun)
        assert answer.container_id == CONTAINER

    asyncio.run(run())


def test_a_stream_ends_with_the_gateway_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def hang(request: Any) -> Any:
            begun.set()
            await asyncio.get_running_loop().create_future()

        async def read(stub: Any) -> Any:
            return [page async for page in stub.StreamPodSandboxes(pb.StreamPodSandboxesRequest())]

        assert await _told(tmp_path, {manager.PAGE_SANDBOXES: hang}, lambda stub: [read(stub)], begun) == [ENDS]

    async def whole() -> None:
        async with asyncio.timeout(server._GRACE):
            await run()

    asyncio.run(whole())


def test_calls_that_arrive_while_the_gateway_ends_are_unavailable(tmp_path: Path) -> None:
    async def run() -> None:
        begun = asyncio.Event()
        codes: set[str] = set()

        async def listed(request: Any) -> Any:
            begun.set()
            await asyncio.sleep(0)  # others go on
            return c.ListContainersResponse()

        async def again(stub: Any) -> None:
            while codes <= {"OK"}:
                try:
                    await stub.ListContainers(pb.ListContainersRequest())
                    codes.add("OK")
                except grpc.aio.AioRpcError as error:
                    codes.add(error.code().name)

        table = {manager.LIST_CONTAINERS: listed}
        await _told(tmp_path, table, lambda stub: [again(stub) for _ in range(30)], begun)
        assert codes == {"OK", "UNAVAILABLE"}

    asyncio.run(run())
