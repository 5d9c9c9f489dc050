"""What CRI says about the runtime as a whole: status, configuration, events, metrics.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.cri.container import ContainerStatus
from cribus.api.cri.sandbox import PodSandboxStatus
from cribus.api.cri.values import CgroupDriver, ContainerEventType, MetricType
from cribus.api.verb import Message


class VersionRequest(Message, frozen=True):
    version: str = ""


class VersionResponse(Message, frozen=True):
    version: str = ""
    runtime_name: str = ""
    runtime_version: str = ""
    runtime_api_version: str = ""


class NetworkConfig(Message, frozen=True):
    pod_cidr: str = ""


class RuntimeConfig(Message, frozen=True):
    network_config: NetworkConfig | None = None


class UpdateRuntimeConfigRequest(Message, frozen=True):
    runtime_config: RuntimeConfig | None = None


class UpdateRuntimeConfigResponse(Message, frozen=True):
    pass


class RuntimeCondition(Message, frozen=True):
    type: str = ""
    status: bool = False
    reason: str = ""
    message: str = ""


class RuntimeStatus(Message, frozen=True):
    conditions: list[RuntimeCondition] = []


class StatusRequest(Message, frozen=True):
    verbose: bool = False


class RuntimeHandlerFeatures(Message, frozen=True):
    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


class RuntimeHandler(Message, frozen=True):
    name: str = ""
    features: RuntimeHandlerFeatures | None = None


class RuntimeFeatures(Message, frozen=True):
    supplemental_groups_policy: bool = False
    user_namespaces_host_network: bool = False
    mount_options: bool = False


class StatusResponse(Message, frozen=True):
    status: RuntimeStatus | None = None
    info: dict[str, str] = {}
    runtime_handlers: list[RuntimeHandler] = []
    features: RuntimeFeatures | None = None


class GetEventsRequest(Message, frozen=True):
    pass


class ContainerEventResponse(Message, frozen=True):
    container_id: str = ""
    container_event_type: ContainerEventType = ContainerEventType.CONTAINER_CREATED_EVENT
    created_at: int = 0
    pod_sandbox_status: PodSandboxStatus | None = None
    containers_statuses: list[ContainerStatus] = []


class ListMetricDescriptorsRequest(Message, frozen=True):
    pass


class MetricDescriptor(Message, frozen=True):
    name: str = ""
    help: str = ""
    label_keys: list[str] = []


class ListMetricDescriptorsResponse(Message, frozen=True):
    descriptors: list[MetricDescriptor] = []


class ListPodSandboxMetricsRequest(Message, frozen=True):
    pass


class Metric(Message, frozen=True):
    name: str = ""
    timestamp: int = 0
    metric_type: MetricType = MetricType.COUNTER
    label_values: list[str] = []
    value: int | None = None


class ContainerMetrics(Message, frozen=True):
    container_id: str = ""
    metrics: list[Metric] = []


class PodSandboxMetrics(Message, frozen=True):
    pod_sandbox_id: str = ""
    metrics: list[Metric] = []
    container_metrics: list[ContainerMetrics] = []


class ListPodSandboxMetricsResponse(Message, frozen=True):
    pod_metrics: list[PodSandboxMetrics] = []


class StreamPodSandboxMetricsRequest(Message, frozen=True):
    pass


class StreamPodSandboxMetricsResponse(Message, frozen=True):
    pod_sandbox_metrics: list[PodSandboxMetrics] = []


class RuntimeConfigRequest(Message, frozen=True):
    pass


class LinuxRuntimeConfiguration(Message, frozen=True):
    cgroup_driver: CgroupDriver = CgroupDriver.SYSTEMD


class RuntimeConfigResponse(Message, frozen=True):
    linux: LinuxRuntimeConfiguration | None = None
