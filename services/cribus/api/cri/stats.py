"""Usage figures as CRI names them.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.cri.container import ContainerMetadata
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.api.verb import Message


class PodSandboxStatsRequest(Message, frozen=True):
    pod_sandbox_id: str = ""


class ContainerAttributes(Message, frozen=True):
    id: str = ""
    metadata: ContainerMetadata | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class PsiData(Message, frozen=True):
    Total: int = 0
    Avg10: float = 0.0
    Avg60: float = 0.0
    Avg300: float = 0.0


class PsiStats(Message, frozen=True):
    Full: PsiData | None = None
    Some: PsiData | None = None


class CpuUsage(Message, frozen=True):
    timestamp: int = 0
    usage_core_nano_seconds: int | None = None
    usage_nano_cores: int | None = None
    psi: PsiStats | None = None


class FilesystemIdentifier(Message, frozen=True):
    mountpoint: str = ""


class FilesystemUsage(Message, frozen=True):
    timestamp: int = 0
    fs_id: FilesystemIdentifier | None = None
    used_bytes: int | None = None
    inodes_used: int | None = None


class IoUsage(Message, frozen=True):
    timestamp: int = 0
    psi: PsiStats | None = None


class MemoryUsage(Message, frozen=True):
    timestamp: int = 0
    working_set_bytes: int | None = None
    available_bytes: int | None = None
    usage_bytes: int | None = None
    rss_bytes: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    psi: PsiStats | None = None


class SwapUsage(Message, frozen=True):
    timestamp: int = 0
    swap_available_bytes: int | None = None
    swap_usage_bytes: int | None = None


class ContainerStats(Message, frozen=True):
    attributes: ContainerAttributes | None = None
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    writable_layer: FilesystemUsage | None = None
    swap: SwapUsage | None = None
    io: IoUsage | None = None


class NetworkInterfaceUsage(Message, frozen=True):
    name: str = ""
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None


class NetworkUsage(Message, frozen=True):
    timestamp: int = 0
    default_interface: NetworkInterfaceUsage | None = None
    interfaces: list[NetworkInterfaceUsage] = []


class ProcessUsage(Message, frozen=True):
    timestamp: int = 0
    process_count: int | None = None


class LinuxPodSandboxStats(Message, frozen=True):
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    network: NetworkUsage | None = None
    process: ProcessUsage | None = None
    containers: list[ContainerStats] = []
    io: IoUsage | None = None


class PodSandboxAttributes(Message, frozen=True):
    id: str = ""
    metadata: PodSandboxMetadata | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class PodSandboxStats(Message, frozen=True):
    attributes: PodSandboxAttributes | None = None
    linux: LinuxPodSandboxStats | None = None


class PodSandboxStatsResponse(Message, frozen=True):
    stats: PodSandboxStats | None = None


class PodSandboxStatsFilter(Message, frozen=True):
    id: str = ""
    label_selector: dict[str, str] = {}


class ListPodSandboxStatsRequest(Message, frozen=True):
    filter: PodSandboxStatsFilter | None = None


class ListPodSandboxStatsResponse(Message, frozen=True):
    stats: list[PodSandboxStats] = []


class StreamPodSandboxStatsRequest(Message, frozen=True):
    filter: PodSandboxStatsFilter | None = None


class StreamPodSandboxStatsResponse(Message, frozen=True):
    pod_sandbox_stats: list[PodSandboxStats] = []


class ImageFsInfoRequest(Message, frozen=True):
    pass


class ImageFsInfoResponse(Message, frozen=True):
    image_filesystems: list[FilesystemUsage] = []
    container_filesystems: list[FilesystemUsage] = []


class ContainerStatsRequest(Message, frozen=True):
    container_id: str = ""


class ContainerStatsResponse(Message, frozen=True):
    stats: ContainerStats | None = None


class ContainerStatsFilter(Message, frozen=True):
    id: str = ""
    pod_sandbox_id: str = ""
    label_selector: dict[str, str] = {}


class ListContainerStatsRequest(Message, frozen=True):
    filter: ContainerStatsFilter | None = None


class ListContainerStatsResponse(Message, frozen=True):
    stats: list[ContainerStats] = []


class StreamContainerStatsRequest(Message, frozen=True):
    filter: ContainerStatsFilter | None = None


class StreamContainerStatsResponse(Message, frozen=True):
    container_stats: list[ContainerStats] = []
