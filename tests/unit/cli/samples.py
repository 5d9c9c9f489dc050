"""Pods, containers and images as the services would describe them."""

from cribus.api.cri.container import Container, ContainerMetadata, ContainerStatus
from cribus.api.cri.image import Image, ImageSpec
from cribus.api.cri.sandbox import PodSandbox, PodSandboxMetadata
from cribus.api.cri.values import ContainerState, PodSandboxState

POD, OTHER_POD, CONTAINER = "a" * 64, "ab" * 32, "c" * 64
PODS = [
    PodSandbox(id=POD, metadata=PodSandboxMetadata(name="web", namespace="default"), created_at=10**18),
    PodSandbox(
        id=OTHER_POD,
        metadata=PodSandboxMetadata(name="db", namespace="prod", attempt=2),
        state=PodSandboxState.SANDBOX_NOTREADY,
        created_at=10**18 + 1,
    ),
]
CONTAINERS = [
    Container(
        id=CONTAINER,
        pod_sandbox_id=POD,
        metadata=ContainerMetadata(name="main"),
        image=ImageSpec(image="sha256:" + "d" * 64, user_specified_image="localhost/busybox:latest"),
        state=ContainerState.CONTAINER_RUNNING,
        created_at=10**18,
    )
]
IMAGES = [
    Image(id="sha256:" + "d" * 64, repo_tags=["localhost/busybox:latest"], size=2_030_000),
    Image(id="sha256:" + "e" * 64, repo_digests=["localhost/app@sha256:" + "1" * 64], size=10),
    Image(id="sha256:" + "f" * 64, size=5, pinned=True),
]


def status(state: ContainerState, log_path: str = "", exit_code: int = 0) -> ContainerStatus:
    return ContainerStatus(id=CONTAINER, state=state, log_path=log_path, exit_code=exit_code)
