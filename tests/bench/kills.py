"""What happens when a process of the runtime is killed: cribus and containerd, the same scenario, one client.

    python -m tests.bench.kills

A pod's container numbers its lines and counts beside its log what it wrote. Then one process is killed with
SIGKILL, while nothing happens and in the middle of each call, and the client does what a kubelet does: it asks
again. Prints a Markdown table: a row a process, over all moments.
"""

import argparse
import re
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tests import registry
from tests.bench import peer, victims
from tests.bench.__main__ import SIDES, enter, machine
from tests.bench.client import Client, Pod, pb
from tests.bench.images import images
from tests.bench.node import Cribus
from tests.bench.side import WORKLOAD, Side
from tests.bench.verdict import Verdict, table
from tests.harness import until

PATIENCE = 15.0  # seconds for which a call is asked again
_GRACE = 5  # seconds that a container gets to end by itself
_GOES_ON = 3.0  # seconds in which a container that runs on must have written another line
_SETTLE = 8.0  # seconds until nothing may be left
_RUNNING, _EXITED = 1, 2
_CODE = 42  # with which the container ends when it is told to
WRITER = (
    f": {WORKLOAD} NAME; trap 'told=1' TERM; i=0; "
    'while [ -z "$told" ]; do i=$((i+1)); echo line $i; echo $i >/out/count; usleep 2000; done; '
    f"echo {_CODE} >/out/code; exit {_CODE}"
)


class Stuck(Exception):
    """A call that did not succeed, however often it was asked."""


class Asker:
    """One client that asks again, whatever the error was."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, method: str, request: Any, patience: float = PATIENCE) -> Any:
        end = time.monotonic() + patience
        again = threading.Event()
        while True:
            try:
                return self.client.call(method, request, max(0.1, end - time.monotonic()))
            except grpc.RpcError as error:
                if time.monotonic() > end:
                    raise Stuck(f"{method}: {error.code().name} {error.details()}") from error
            again.wait(0.02)


class Writer(Pod):
    """The pod at stake. `/out` of its container is a folder of the host's."""

    def __init__(self, client: Client) -> None:
        self.out = Path(tempfile.mkdtemp(dir=client.side.base))
        super().__init__(client, mounts=[pb.Mount(host_path=str(self.out), container_path="/out")])
        self.mark = f"{client.side.tag}-{self.config.metadata.name}"
        self.main.command[:] = ["sh", "-c", WRITER.replace("NAME", self.mark)]

    def written(self) -> int:
        """How many lines it has written, by its own count."""
        path = self.out / "count"
        return int((path.read_text() if path.exists() else "").strip() or 0)

    def lost(self) -> tuple[int, int]:
        """(lines that are not in its log, lines that are there more than once), of all that it wrote."""
        said = re.findall(r"^\S+ stdout F line (\d+)$", self.log.read_text(), re.MULTILINE)
        return len(set(range(1, self.written() + 1)) - set(map(int, said))), len(said) - len(set(said))


class Moment(NamedTuple):
    """A call in whose middle something is killed. `prepare` makes what it needs, `act` is the call."""

    prepare: Callable[[Asker, Writer], Any]
    act: Callable[[Asker, Writer, Any], None]


def _nothing(asker: Asker, writer: Writer) -> None:
    return None


def _second(asker: Asker, writer: Writer) -> Any:
    """A configuration of another container of the same pod."""
    main = pb.ContainerConfig()
    main.CopyFrom(writer.main)
    main.metadata.name = main.log_path = f"second-{time.monotonic_ns()}"
    main.command[:] = ["sleep", WORKLOAD]
    return pb.CreateContainerRequest(pod_sandbox_id=writer.id, config=main, sandbox_config=writer.config)


def _created(asker: Asker, writer: Writer) -> str:
    return str(asker.ask("CreateContainer", _second(asker, writer)).container_id)


def _started(asker: Asker, writer: Writer) -> str:
    id = _created(asker, writer)
    asker.ask("StartContainer", pb.StartContainerRequest(container_id=id))
    return id


def _run(asker: Asker, writer: Writer, _: Any) -> None:
    pod = Pod(asker.client)
    id = asker.ask("RunPodSandbox", pb.RunPodSandboxRequest(config=pod.config)).pod_sandbox_id
    asker.ask("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=id))
    asker.ask("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=id))


def _exec(asker: Asker, container: str) -> None:
    request = pb.ExecSyncRequest(container_id=container, cmd=["sh", "-c", "exit 3"], timeout=10)
    answer = asker.ask("ExecSync", request)
    if answer.exit_code != 3:
        raise Stuck(f"ExecSync: exit code {answer.exit_code}, not 3")


def _start(asker: Asker, writer: Writer, id: str) -> None:
    asker.ask("StartContainer", pb.StartContainerRequest(container_id=id))


def _stop(asker: Asker, writer: Writer, id: str) -> None:
    asker.ask("StopContainer", pb.StopContainerRequest(container_id=id, timeout=1))


MOMENTS = {
    "idle": Moment(_nothing, lambda asker, writer, _: None),
    "RunPodSandbox": Moment(_nothing, _run),
    "CreateContainer": Moment(_second, lambda asker, writer, request: asker.ask("CreateContainer", request)),
    "StartContainer": Moment(_created, _start),
    "ExecSync": Moment(_nothing, lambda asker, writer, _: _exec(asker, writer.container)),
    "StopContainer": Moment(_started, _stop),
}


class Kills:
    """The scenario on one side."""

    def __init__(self, client: Client) -> None:
        self.asker = Asker(client)
        self.target = victims.target(client.side)
        self._takes = {name: self._measured(moment) for name, moment in MOMENTS.items()}
        self._quiet()

    def _quiet(self) -> None:
        """Wait until what is there has stayed the same for a while: processes are forked ahead, or end, at leisure."""
        seen = [self.target.present()]

        def same() -> bool:
            seen.append(self.target.present())
            return len(seen) > 20 and all(one == seen[-1] for one in seen[-20:])

        until(same, 30, "the side is quiet")
        self._before = seen[-1]

    def _measured(self, moment: Moment) -> float:
        """Seconds that the call takes when nothing is killed."""
        writer = self._up()
        prepared = moment.prepare(self.asker, writer)
        began = time.monotonic()
        moment.act(self.asker, writer, prepared)
        took = time.monotonic() - began
        self._down(writer)
        return took

    def _up(self) -> Writer:
        writer = Writer(self.asker.client)
        writer.up()
        until(lambda: writer.written() > 20, 10, "it writes")
        return writer

    def _down(self, writer: Writer) -> None:
        self.asker.ask("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=writer.id))
        self.asker.ask("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=writer.id))

    def kill(self, kind: str, moment: str, part: float) -> Verdict:
        """Kill one process when that part of the call's time has passed; what became of the pod."""
        writer = self._up()
        failed: list[str] = []
        asking = self._asking(writer, MOMENTS[moment], failed)
        threading.Event().wait(self._takes[moment] * part)
        at = time.monotonic()
        self.target.kill(kind, writer.id, writer.container)
        recovered = self._recovered(writer, at)
        asking.join()
        fate = self._fate(writer)
        told, true = self._ended(writer)
        lost, twice = writer.lost()
        verdict = Verdict(kind, moment, fate, (told, true), (lost, twice), recovered)
        return verdict._replace(failed=failed, leaked=self._leaked(writer, failed))

    def _asking(self, writer: Writer, moment: Moment, failed: list[str]) -> threading.Thread:
        prepared = moment.prepare(self.asker, writer)

        def act() -> None:
            try:
                moment.act(self.asker, writer, prepared)
            except Stuck as error:
                failed.append(str(error))

        thread = threading.Thread(target=act)
        thread.start()
        return thread

    def _recovered(self, writer: Writer, at: float) -> tuple[float, float | None]:
        """Seconds until lists work; and until a command in the very container works, None if it never does."""
        for method, request in (
            ("ListPodSandbox", pb.ListPodSandboxRequest()),
            ("ListContainers", pb.ListContainersRequest()),
            ("ListImages", pb.ListImagesRequest()),
        ):
            self.asker.ask(method, request)
        lists = time.monotonic() - at
        end = time.monotonic() + PATIENCE
        again = threading.Event()
        while time.monotonic() < end:
            if self._exited(writer):
                return lists, None
            try:
                request = pb.ExecSyncRequest(container_id=writer.container, cmd=["true"], timeout=5)
                self.asker.client.call("ExecSync", request, 5)
            except grpc.RpcError:
                again.wait(0.02)
            else:
                return lists, time.monotonic() - at
        return lists, None

    def _exited(self, writer: Writer) -> bool:
        request = pb.ContainerStatusRequest(container_id=writer.container)
        return bool(self.asker.ask("ContainerStatus", request).status.state == _EXITED)

    def _fate(self, writer: Writer) -> str:
        seen, end = writer.written(), time.monotonic() + _GOES_ON
        again = threading.Event()
        while writer.written() <= seen and time.monotonic() < end:
            again.wait(0.02)
        if writer.written() > seen:
            return "runs on"
        return "hangs" if victims.running(writer.mark) else "is killed"

    def _ended(self, writer: Writer) -> tuple[int, int]:
        """(exit code that is told, exit code with which it really ended), once it was told to end."""
        stop = pb.StopContainerRequest(container_id=writer.container, timeout=_GRACE)
        self.asker.ask("StopContainer", stop)
        status = self.asker.ask("ContainerStatus", pb.ContainerStatusRequest(container_id=writer.container)).status
        path = writer.out / "code"
        return int(status.exit_code), int(path.read_text()) if path.exists() else 128 + 9

    def _leaked(self, writer: Writer, failed: list[str]) -> list[str]:
        """What is left once the pod was removed and nothing more goes."""
        try:
            self._down(writer)
        except Stuck as error:
            failed.append(str(error))
        end = time.monotonic() + _SETTLE
        again = threading.Event()
        while left := victims.left(self._before, self.target.present()):
            if time.monotonic() > end:
                break
            again.wait(0.1)
        if victims.running(writer.mark):
            left.append("the container's processes")
        if left:
            self.asker.client.clear()
            self._quiet()
        return left


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kills", description=__doc__.split("\n\n")[0])
    parser.add_argument("--side", choices=SIDES, action="append", help="run this side only")
    parser.add_argument("--rounds", type=int, default=2, help="kills in each call, spread over its time (%(default)s)")
    parser.add_argument("--peer", type=Path, default=peer.programs(), help="its programs (%(default)s)")
    parser.add_argument("--base", type=Path, default=Path("/var/tmp"), help="where the data lies while it runs")
    return parser.parse_args()


def run(side: Side, image: str, rounds: int) -> tuple[str, list[Verdict]]:
    """Every kill on one side; what the side is, and the verdicts."""
    found = []
    with ExitStack() as stack:
        client = enter(stack, side, image)
        kills = Kills(client)
        for kind in kills.target.kinds:
            for moment in MOMENTS:
                for number in range(rounds if moment != "idle" else 1):
                    one = kills.kill(kind, moment, (number + 1) / (rounds + 1))
                    print(f"{time.strftime('%H:%M:%S')} {side.name}: {one.line()}", flush=True)
                    found.append(one)
        return machine([client]), found


def main() -> None:
    chosen = arguments()
    found = {}
    said = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crbk", dir=chosen.base)))
        store = stack.enter_context(registry.serve(folder / "registry"))
        image = images(store, folder)
        for name in [one for one in SIDES if one in (chosen.side or SIDES)]:
            base = folder / name
            if name == "containerd":
                peer.install(chosen.peer)
            side: Side = Cribus(base) if name == "cribus" else peer.Containerd(base, chosen.peer, store.host)
            what, found[name] = run(side, image, chosen.rounds)
            said.append(what)
    print(f"\n{'; '.join(said)}\n\n{table(found)}")


if __name__ == "__main__":
    main()
