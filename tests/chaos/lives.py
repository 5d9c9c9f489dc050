"""Pods whose container numbers its lines, and what is asked of them, by gRPC: each thing is asked again
until it succeeds, as kubelet does."""

import itertools
import re
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from cribus.gateway.cri import api_pb2 as pb
from cribus.gateway.cri import api_pb2_grpc as stubs

from tests.chaos.news import News
from tests.harness import until

# The count and its line are one command: a trap runs only between two.
WRITER = "trap 'echo bye $i; exit 42' TERM; i=0; while :; do echo line $((i+=1)); usleep 5000; done"
GATED = "i=0; while [ ! -e /gate/open ]; do i=$((i+1)); echo line $i; usleep 5000; done; echo bye $i; exit 7"
SLOW = (
    "trap 'n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo line $((i+=1)); usleep 5000; done; echo bye $i; exit 42'"
    " TERM; i=0; while :; do echo line $((i+=1)); usleep 5000; done"
)
DEAF = "trap '' TERM; i=0; while :; do echo line $((i+=1)); usleep 5000; done"
FLOOD = (
    "trap 'echo bye $i; exit 42' TERM; i=0; while :; do echo line $((i+=1));"
    " [ -e /gate/open -a $i -lt 30000 ] || usleep 5000; done"
)
PATIENCE = 25.0  # seconds until a call must have succeeded, however often it is made
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)
_RECONNECT = [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]
_numbers = itertools.count()


class Client:
    """One client of the node's socket. `failures` are the errors after which it asked again."""

    def __init__(self, endpoint: str, image: str) -> None:
        self.image = image
        self.failures: list[str] = []
        self._channel = grpc.insecure_channel(endpoint, _RECONNECT)
        self._runtime = stubs.RuntimeServiceStub(self._channel)
        self._images = stubs.ImageServiceStub(self._channel)

    def news(self) -> News:
        """Every event from now on."""
        return News(self._channel)

    def once(self, method: str, request: Any, seconds: float = PATIENCE) -> Any:
        stub = self._images if "Image" in method else self._runtime
        return getattr(stub, method)(request, timeout=seconds)

    def ask(self, method: str, request: Any) -> Any:
        """The answer, at last. Raises RpcError for what no repeat mends."""
        end = time.monotonic() + PATIENCE
        again = threading.Event()
        while True:
            try:
                return self.once(method, request)
            except grpc.RpcError as error:
                if error.code() not in _AGAIN or time.monotonic() > end:
                    raise
                self.failures.append(f"{method}: {error.code().name} {error.details()}")
            again.wait(0.01)

    def close(self) -> None:
        self._channel.close()


class Life:
    """A pod and its container, from nothing to nothing. What was reached is what was answered."""

    def __init__(self, client: Client, logs: Path, script: str = WRITER) -> None:
        self.client = client
        self.number = next(_numbers)
        self.name = f"life-{self.number}"
        self.folder = logs / self.name
        self.folder.mkdir()
        self.log = self.folder / "main.log"
        self.gate = self.folder / "gate"
        self.gate.mkdir()
        self.id = self.container = ""
        self.started = False
        self.code = -1  # with which it ended, as we know
        self.told = 137 if script == DEAF else 42  # with which it ends when it is told to
        self.gone = False
        self.orphaned = False  # its keeper and its shim were killed in the same instant
        self.unseen = False  # and with them everybody else who might have seen how it ends
        self.config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=self.name, uid=self.name, namespace="chaos"),
            hostname=self.name,
            log_directory=str(self.folder),
            port_mappings=[pb.PortMapping(container_port=80, host_port=21000 + self.number)],
            linux=pb.LinuxPodSandboxConfig(),
        )
        self.main = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name="main"),
            image=pb.ImageSpec(image=client.image),
            command=["sh", "-c", script],
            log_path="main.log",
            mounts=[pb.Mount(host_path=str(self.gate), container_path="/gate")],
            linux=pb.LinuxContainerConfig(),
        )

    def run(self) -> None:
        self.id = self.client.ask("RunPodSandbox", pb.RunPodSandboxRequest(config=self.config)).pod_sandbox_id

    def create(self) -> None:
        request = pb.CreateContainerRequest(pod_sandbox_id=self.id, config=self.main, sandbox_config=self.config)
        self.container = self.client.ask("CreateContainer", request).container_id

    def start(self) -> None:
        self.client.ask("StartContainer", pb.StartContainerRequest(container_id=self.container))
        self.started = True

    def up(self) -> "Life":
        self.run()
        self.create()
        self.start()
        return self.writing()

    def writing(self) -> "Life":
        until(lambda: self.log.exists() and b" line " in self.log.read_bytes(), 10, "the first line")
        return self

    def exec(self) -> None:
        request = pb.ExecSyncRequest(
            container_id=self.container, cmd=["sh", "-c", "echo $HOSTNAME; exit 3"], timeout=20
        )
        answer = self.client.ask("ExecSync", request)
        assert (answer.stdout.decode().strip(), answer.exit_code) == (self.name, 3), answer

    def stop(self, grace: int = 5) -> None:
        self.client.ask("StopContainer", pb.StopContainerRequest(container_id=self.container, timeout=grace))
        self._killed(self.told if grace else 137)

    def _killed(self, code: int = 137) -> None:
        if self.started and self.code < 0:
            self.code = code

    def exit(self) -> None:
        """Let it go through its gate; only for GATED."""
        (self.gate / "open").touch()
        until(lambda: self.status().state == pb.CONTAINER_EXITED, 15, "its exit is known")
        self.code = 7

    def reopen(self) -> None:
        if self.log.exists():
            self.log.rename(self.folder / f"main.log.{time.time_ns()}")
        self.client.ask("ReopenContainerLog", pb.ReopenContainerLogRequest(container_id=self.container))

    def remove_container(self) -> None:
        self.client.ask("RemoveContainer", pb.RemoveContainerRequest(container_id=self.container))
        self._killed()

    def stop_pod(self) -> None:
        self.client.ask("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=self.id))
        self._killed()

    def remove_pod(self) -> None:
        self.client.ask("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=self.id))
        self._killed()
        self.gone = True

    def status(self) -> Any:
        return self.client.ask("ContainerStatus", pb.ContainerStatusRequest(container_id=self.container)).status

    def heard(self) -> dict[str, list[str]]:
        """Which events a client of CRI hears of whom, once it is gone."""
        born, died = ["CONTAINER_CREATED_EVENT"], ["CONTAINER_DELETED_EVENT"]
        ran = ["CONTAINER_STARTED_EVENT", "CONTAINER_STOPPED_EVENT"]
        both = ((self.id, True), (self.container, self.started))
        return {id: born + (ran if lived else []) + died for id, lived in both if id}

    def lines(self) -> list[str]:
        """What it wrote, through every file that its log was."""
        text = "".join(one.read_text() for one in sorted(self.folder.glob("main.log.*")))
        return [_text(line) for line in (text + (self.log.read_text() if self.log.exists() else "")).splitlines()]

    def written(self) -> int:
        return sum(one.stat().st_size for one in self.folder.glob("main.log*"))


def _text(line: str) -> str:
    found = re.fullmatch(r"\S+ stdout F (.*?)\r?", line)
    assert found, f"no whole line: {line!r}"
    return found[1]


def check_order(lines: list[str]) -> None:
    """No line twice and all in order, though some may be missing: where shim and keeper were killed in the
    same instant (docs/decisions/0013-stand-in-keeper.md)."""
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert numbers == sorted(set(numbers))


def check_lines(lines: list[str], *, whole: bool) -> None:
    """Every line once and in order; `whole`: with its last one, which says how many there were."""
    count = len(lines) - 1 if whole else len(lines)
    wanted = [f"line {k}" for k in range(1, count + 1)]
    if lines[:count] != wanted:
        at = next(k for k, (have, want) in enumerate(zip(lines, wanted, strict=False)) if have != want)
        raise AssertionError(f"after {wanted[:at][-1:]} came {lines[at : at + 3]}")
    if whole:
        assert lines[-1:] == [f"bye {count}"], lines[-3:]
