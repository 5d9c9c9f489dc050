"""Containers as CRI names them, and the requests about them.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import PodSandboxConfig, PodSandboxStatus
from cribus.api.cri.security import IDMapping, LinuxContainerResources, LinuxContainerSecurityContext
from cribus.api.cri.values import ContainerState, MountPropagation, Signal
from cribus.api.verb import Message


class Mount(Message, frozen=True):
    container_path: str = ""
    host_path: str = ""
    readonly: bool = False
    selinux_relabel: bool = False
    propagation: MountPropagation = MountPropagation.PROPAGATION_PRIVATE
    uidMappings: list[IDMapping] = []
    gidMappings: list[IDMapping] = []
    recursive_read_only: bool = False
    image: ImageSpec | None = None
    image_sub_path: str = ""
    mount_options: list[str] = []


class ContainerMetadata(Message, frozen=True):
    name: str = ""
    attempt: int = 0


class ContainerResources(Message, frozen=True):
    linux: LinuxContainerResources | None = None


class LinuxContainerUser(Message, frozen=True):
    uid: int = 0
    gid: int = 0
    supplemental_groups: list[int] = []


class ContainerUser(Message, frozen=True):
    linux: LinuxContainerUser | None = None


class ContainerStatus(Message, frozen=True):
    id: str = ""
    metadata: ContainerMetadata | None = None
    state: ContainerState = ContainerState.CONTAINER_CREATED
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    image: ImageSpec | None = None
    image_ref: str = ""
    reason: str = ""
    message: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: list[Mount] = []
    log_path: str = ""
    resources: ContainerResources | None = None
    image_id: str = ""
    user: ContainerUser | None = None
    stop_signal: Signal = Signal.SIGNAL_RUNTIME_DEFAULT


class PodSandboxStatusResponse(Message, frozen=True):
    status: PodSandboxStatus | None = None
    info: dict[str, str] = {}
    containers_statuses: list[ContainerStatus] = []
    timestamp: int = 0


class KeyValue(Message, frozen=True):
    key: str = ""
    value: bytes = b""


class LinuxContainerConfig(Message, frozen=True):
    resources: LinuxContainerResources | None = None
    security_context: LinuxContainerSecurityContext | None = None


class Device(Message, frozen=True):
    container_path: str = ""
    host_path: str = ""
    permissions: str = ""


class CDIDevice(Message, frozen=True):
    name: str = ""


class ContainerConfig(Message, frozen=True):
    metadata: ContainerMetadata | None = None
    image: ImageSpec | None = None
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    envs: list[KeyValue] = []
    mounts: list[Mount] = []
    devices: list[Device] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    linux: LinuxContainerConfig | None = None
    CDI_devices: list[CDIDevice] = []
    stop_signal: Signal = Signal.SIGNAL_RUNTIME_DEFAULT


class CreateContainerRequest(Message, frozen=True):
    pod_sandbox_id: str = ""
    config: ContainerConfig | None = None
    sandbox_config: PodSandboxConfig | None = None


class CreateContainerResponse(Message, frozen=True):
    container_id: str = ""


class StartContainerRequest(Message, frozen=True):
    container_id: str = ""


class StartContainerResponse(Message, frozen=True):
    pass


class StopContainerRequest(Message, frozen=True):
    container_id: str = ""
    timeout: int = 0


class StopContainerResponse(Message, frozen=True):
    pass


class RemoveContainerRequest(Message, frozen=True):
    container_id: str = ""


class RemoveContainerResponse(Message, frozen=True):
    pass


class ContainerFilter(Message, frozen=True):
    id: str = ""
    state: ContainerState | None = None
    pod_sandbox_id: str = ""
    label_selector: dict[str, str] = {}


class ListContainersRequest(Message, frozen=True):
    filter: ContainerFilter | None = None


class Container(Message, frozen=True):
    id: str = ""
    pod_sandbox_id: str = ""
    metadata: ContainerMetadata | None = None
    image: ImageSpec | None = None
    image_ref: str = ""
    state: ContainerState = ContainerState.CONTAINER_CREATED
    created_at: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    image_id: str = ""


class ListContainersResponse(Message, frozen=True):
    containers: list[Container] = []


class StreamContainersRequest(Message, frozen=True):
    filter: ContainerFilter | None = None


class StreamContainersResponse(Message, frozen=True):
    containers: list[Container] = []


class ContainerStatusRequest(Message, frozen=True):
    container_id: str = ""
    verbose: bool = False


class ContainerStatusResponse(Message, frozen=True):
    status: ContainerStatus | None = None
    info: dict[str, str] = {}


class UpdateContainerResourcesRequest(Message, frozen=True):
    container_id: str = ""
    linux: LinuxContainerResources | None = None
    annotations: dict[str, str] = {}


class UpdateContainerResourcesResponse(Message, frozen=True):
    pass


class ExecSyncRequest(Message, frozen=True):
    container_id: str = ""
    cmd: list[str] = []
    timeout: int = 0


class ExecSyncResponse(Message, frozen=True):
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


class ExecRequest(Message, frozen=True):
    container_id: str = ""
    cmd: list[str] = []
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


class ExecResponse(Message, frozen=True):
    url: str = ""


class AttachRequest(Message, frozen=True):
    container_id: str = ""
    stdin: bool = False
    tty: bool = False
    stdout: bool = False
    stderr: bool = False


class AttachResponse(Message, frozen=True):
    url: str = ""


class ReopenContainerLogRequest(Message, frozen=True):
    container_id: str = ""


class ReopenContainerLogResponse(Message, frozen=True):
    pass


class CheckpointContainerRequest(Message, frozen=True):
    container_id: str = ""
    location: str = ""
    timeout: int = 0


class CheckpointContainerResponse(Message, frozen=True):
    pass


class RestorePodRequest(Message, frozen=True):
    checkpoint_path: str = ""
    config: PodSandboxConfig | None = None
    runtime_handler: str = ""
    options: dict[str, str] = {}
    container_configs: list[ContainerConfig] = []
