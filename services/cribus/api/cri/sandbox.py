"""Pod sandboxes as CRI names them, and the requests about them.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.cri.image import AuthConfig, ImageSpec
from cribus.api.cri.security import LinuxContainerResources, LinuxSandboxSecurityContext, NamespaceOption
from cribus.api.cri.values import PodSandboxState, Protocol
from cribus.api.verb import Message


class DNSConfig(Message, frozen=True):
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []


class PortMapping(Message, frozen=True):
    protocol: Protocol = Protocol.TCP
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""


class LinuxPodSandboxConfig(Message, frozen=True):
    cgroup_parent: str = ""
    security_context: LinuxSandboxSecurityContext | None = None
    sysctls: dict[str, str] = {}
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None


class PodSandboxMetadata(Message, frozen=True):
    name: str = ""
    uid: str = ""
    namespace: str = ""
    attempt: int = 0


class PodSandboxConfig(Message, frozen=True):
    metadata: PodSandboxMetadata | None = None
    hostname: str = ""
    log_directory: str = ""
    dns_config: DNSConfig | None = None
    port_mappings: list[PortMapping] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    linux: LinuxPodSandboxConfig | None = None


class RunPodSandboxRequest(Message, frozen=True):
    config: PodSandboxConfig | None = None
    runtime_handler: str = ""


class RunPodSandboxResponse(Message, frozen=True):
    pod_sandbox_id: str = ""


class StopPodSandboxRequest(Message, frozen=True):
    pod_sandbox_id: str = ""


class StopPodSandboxResponse(Message, frozen=True):
    pass


class RemovePodSandboxRequest(Message, frozen=True):
    pod_sandbox_id: str = ""


class RemovePodSandboxResponse(Message, frozen=True):
    pass


class PodSandboxStatusRequest(Message, frozen=True):
    pod_sandbox_id: str = ""
    verbose: bool = False


class PodIP(Message, frozen=True):
    ip: str = ""


class PodSandboxNetworkStatus(Message, frozen=True):
    ip: str = ""
    additional_ips: list[PodIP] = []


class Namespace(Message, frozen=True):
    options: NamespaceOption | None = None


class LinuxPodSandboxStatus(Message, frozen=True):
    namespaces: Namespace | None = None


class PodSandboxStatus(Message, frozen=True):
    id: str = ""
    metadata: PodSandboxMetadata | None = None
    state: PodSandboxState = PodSandboxState.SANDBOX_READY
    created_at: int = 0
    network: PodSandboxNetworkStatus | None = None
    linux: LinuxPodSandboxStatus | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    runtime_handler: str = ""


class PodSandboxFilter(Message, frozen=True):
    id: str = ""
    state: PodSandboxState | None = None
    label_selector: dict[str, str] = {}


class ListPodSandboxRequest(Message, frozen=True):
    filter: PodSandboxFilter | None = None


class PodSandbox(Message, frozen=True):
    id: str = ""
    metadata: PodSandboxMetadata | None = None
    state: PodSandboxState = PodSandboxState.SANDBOX_READY
    created_at: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    runtime_handler: str = ""


class ListPodSandboxResponse(Message, frozen=True):
    items: list[PodSandbox] = []


class StreamPodSandboxesRequest(Message, frozen=True):
    filter: PodSandboxFilter | None = None


class StreamPodSandboxesResponse(Message, frozen=True):
    pod_sandboxes: list[PodSandbox] = []


class PortForwardRequest(Message, frozen=True):
    pod_sandbox_id: str = ""
    port: list[int] = []


class PortForwardResponse(Message, frozen=True):
    url: str = ""


class PullImageRequest(Message, frozen=True):
    image: ImageSpec | None = None
    auth: AuthConfig | None = None
    sandbox_config: PodSandboxConfig | None = None


class CheckpointPodRequest(Message, frozen=True):
    pod_sandbox_id: str = ""
    output_path: str = ""
    container_ids: list[str] = []
    options: dict[str, str] = {}


class CheckpointPodResponse(Message, frozen=True):
    pass


class RestoredContainer(Message, frozen=True):
    name: str = ""
    container_id: str = ""


class RestorePodResponse(Message, frozen=True):
    pod_sandbox_id: str = ""
    restored_containers: list[RestoredContainer] = []


class UpdatePodSandboxResourcesRequest(Message, frozen=True):
    pod_sandbox_id: str = ""
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None


class UpdatePodSandboxResourcesResponse(Message, frozen=True):
    pass
