"""A CRI client over gRPC: pods and containers by JSON's words."""

import itertools
import socket
from typing import Any
from urllib.parse import urlsplit

import grpc
from cribus.gateway.cri import api_pb2 as pb
from cribus.gateway.cri import api_pb2_grpc as stubs
from google.protobuf import json_format

from tests.harness import IMAGE, Node

TIMEOUT = 60.0  # seconds any one call may take
_numbers = itertools.count()


class Cri:
    """The calls by their names; pods and containers from what JSON would say of them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        # Bigger than gRPC's 4 MiB, as kubelet and crictl have it; and back at once after a kill.
        options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_reconnect_backoff_ms", 100)]
        self.channel = grpc.insecure_channel(f"unix://{node.socket}", options=options)
        self._runtime = stubs.RuntimeServiceStub(self.channel)
        self._images = stubs.ImageServiceStub(self.channel)

    def stub(self, method: str) -> Any:
        return getattr(self._images if "Image" in method else self._runtime, method)

    def call(self, method: str, seconds: float = TIMEOUT, **fields: Any) -> Any:
        """One call, its request from JSON's words. Raises grpc.RpcError."""
        return self.stub(method)(self.request(method, **fields), timeout=seconds)

    def request(self, method: str, **fields: Any) -> Any:
        special = {"GetContainerEvents": "GetEventsRequest"}
        kind = getattr(pb, special.get(method, f"{method}Request"))
        return json_format.ParseDict(fields, kind())

    def refused(self, method: str, **fields: Any) -> tuple[str, str]:
        """The code and the sentence with which a call must fail."""
        try:
            self.call(method, **fields)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError(f"{method} succeeded: {fields}")

    def pod_config(self, name: str = "", **more: Any) -> dict[str, Any]:
        name = name or f"cri-{next(_numbers)}"
        folder = self.node.logs / name
        folder.mkdir(exist_ok=True)
        metadata = {"name": name, "uid": f"uid-{name}", "namespace": "default"}
        return {"metadata": metadata, "log_directory": str(folder), "linux": {}, **more}

    def pod(self, name: str = "", handler: str = "", **more: Any) -> "Pod":
        config = self.pod_config(name, **more)
        id = self.call("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id
        return Pod(self, id, config)

    def close(self) -> None:
        self.channel.close()


class Pod:
    """A pod that runs."""

    def __init__(self, cri: Cri, id: str, config: dict[str, Any]) -> None:
        self.cri = cri
        self.id = id
        self.config = config

    def container_config(self, *command: str, **more: Any) -> dict[str, Any]:
        name = f"box-{next(_numbers)}"
        known: dict[str, Any] = {"metadata": {"name": name}, "image": {"image": IMAGE}, "log_path": f"{name}.log"}
        return {**known, "command": list(command), "linux": {}, **more}

    def created(self, *command: str, **more: Any) -> str:
        config = self.container_config(*command, **more)
        answer = self.cri.call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return str(answer.container_id)

    def refused(self, *command: str, **more: Any) -> tuple[str, str]:
        """How CreateContainer refuses this configuration."""
        config = self.container_config(*command, **more)
        return self.cri.refused("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)

    def running(self, *command: str, **more: Any) -> str:
        id = self.created(*(command or ("sleep", "1000")), **more)
        self.cri.call("StartContainer", container_id=id)
        return id

    def says(self, container: str, *command: str) -> str:
        """What a command prints in a running container; it must succeed."""
        answer = self.cri.call("ExecSync", container_id=container, cmd=list(command), timeout=30)
        assert answer.exit_code == 0, (command, answer.stdout, answer.stderr)
        return str(answer.stdout.decode())

    def remove(self) -> None:
        self.cri.call("RemovePodSandbox", pod_sandbox_id=self.id)


def stream_status(url: str) -> str:
    """The HTTP status that a client of remotecommand is answered at a stream's address."""
    address = urlsplit(url)
    headers = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io"
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as client:
        client.sendall(f"POST {address.path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        return client.recv(100).split()[1].decode()
