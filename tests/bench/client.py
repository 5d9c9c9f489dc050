"""A CRI client that knows nothing of either runtime: code generated from protos/ into a folder of its own."""

import importlib
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_tools import protoc

from tests.bench.side import WORKLOAD, Side

PROTO = Path(__file__).resolve().parents[2] / "protos" / "cri" / "runtime" / "v1"
TIMEOUT = 120.0  # seconds any one call may take
_RECONNECT = [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]
_numbers = itertools.count()


def generate() -> tuple[Any, Any]:
    """The messages and the stubs, as modules `api_pb2` and `api_pb2_grpc`.

    Raises RuntimeError when protoc refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        status = protoc.main(
            ["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}", "api.proto"]
        )
        if status:
            raise RuntimeError(f"protoc failed with status {status} on {PROTO}")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("api_pb2"), importlib.import_module("api_pb2_grpc")
        finally:
            sys.path.remove(folder)


pb, stubs = generate()


class Pod:
    """A pod with one container that sleeps; each step answers the milliseconds it took."""

    def __init__(self, client: "Client", *command: str, mounts: list[Any] | None = None) -> None:
        self.client = client
        name = f"bench-{next(_numbers)}"
        self.folder = client.side.logs / name
        self.folder.mkdir()
        self.log = self.folder / "main.log"
        self.id = self.container = ""
        # As kubelet asks by default: a PID namespace a container, the rest shared in the pod.
        namespaces = pb.NamespaceOption(network=pb.POD, pid=pb.CONTAINER, ipc=pb.POD)
        self.config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=name, namespace="bench"),
            hostname=name,
            log_directory=str(self.folder),
            labels={"bench": "yes"},
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=client.side.cgroup,
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=namespaces),
            ),
        )
        self.main = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name="main"),
            image=pb.ImageSpec(image=client.image),
            command=list(command or ("sleep", WORKLOAD)),
            log_path="main.log",
            mounts=mounts or [],
            linux=pb.LinuxContainerConfig(
                security_context=pb.LinuxContainerSecurityContext(namespace_options=namespaces)
            ),
        )

    def run(self) -> float:
        took, answer = self.client.timed("RunPodSandbox", pb.RunPodSandboxRequest(config=self.config))
        self.id = answer.pod_sandbox_id
        return took

    def create(self) -> float:
        request = pb.CreateContainerRequest(pod_sandbox_id=self.id, config=self.main, sandbox_config=self.config)
        took, answer = self.client.timed("CreateContainer", request)
        self.container = answer.container_id
        return took

    def start(self) -> float:
        return self.client.timed("StartContainer", pb.StartContainerRequest(container_id=self.container))[0]

    def exec(self, *command: str) -> float:
        request = pb.ExecSyncRequest(container_id=self.container, cmd=command or ("true",), timeout=30)
        took, answer = self.client.timed("ExecSync", request)
        assert answer.exit_code == 0, answer
        return took

    def stop_container(self) -> float:
        """Kill at once: no time to end by itself."""
        return self.client.timed("StopContainer", pb.StopContainerRequest(container_id=self.container, timeout=0))[0]

    def stop(self) -> float:
        return self.client.timed("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=self.id))[0]

    def remove_container(self) -> float:
        return self.client.timed("RemoveContainer", pb.RemoveContainerRequest(container_id=self.container))[0]

    def remove(self) -> float:
        return self.client.timed("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=self.id))[0]

    def up(self) -> "Pod":
        self.run()
        self.create()
        self.start()
        return self

    def down(self) -> None:
        self.stop_container()
        self.stop()
        self.remove_container()
        self.remove()

    def state(self) -> int:
        request = pb.ContainerStatusRequest(container_id=self.container)
        return int(self.client.call("ContainerStatus", request).status.state)


class Client:
    """`image` is what its pods run; it must have been pulled."""

    def __init__(self, side: Side, image: str) -> None:
        self.side = side
        self.image = image
        self._channel = grpc.insecure_channel(side.endpoint, _RECONNECT)
        self._runtime = stubs.RuntimeServiceStub(self._channel)
        self._images = stubs.ImageServiceStub(self._channel)

    def call(self, method: str, request: Any, seconds: float = TIMEOUT) -> Any:
        stub = self._images if "Image" in method else self._runtime
        return getattr(stub, method)(request, timeout=seconds)

    def timed(self, method: str, request: Any) -> tuple[float, Any]:
        """Milliseconds until the answer, and the answer."""
        start = time.perf_counter()
        answer = self.call(method, request)
        return (time.perf_counter() - start) * 1e3, answer

    def version(self) -> str:
        answer = self.call("Version", pb.VersionRequest())
        return f"{answer.runtime_name} {answer.runtime_version}"

    def pull(self, image: str) -> float:
        return self.timed("PullImage", pb.PullImageRequest(image=pb.ImageSpec(image=image)))[0]

    def forget_image(self, image: str) -> None:
        self.call("RemoveImage", pb.RemoveImageRequest(image=pb.ImageSpec(image=image)))

    def pods(self) -> list[str]:
        return [one.id for one in self.call("ListPodSandbox", pb.ListPodSandboxRequest()).items]

    def clear(self) -> None:
        """Remove every pod, whatever became of it."""
        for pod in self.pods():
            self.call("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=pod))
            self.call("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=pod))

    def close(self) -> None:
        self._channel.close()
