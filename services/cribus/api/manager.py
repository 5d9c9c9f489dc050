"""What the container manager answers: CRI's sandbox and container calls, in CRI's own messages."""

from cribus.api.cri import container as c
from cribus.api.cri import runtime as r
from cribus.api.cri import sandbox as s
from cribus.api.cri import stats as u
from cribus.api.paging import Page, Paged
from cribus.api.verb import Empty, Message, Verb

SERVICE = "manager"


class Locate(Message, frozen=True):
    """Which container or pod an id or a unique beginning of one means."""

    id: str
    only_pods: bool = False


class Located(Message, frozen=True):
    pod: str
    container: str = ""
    running: bool = False
    tty: bool = False
    stdin: bool = False
    netns: str = ""  # path of the pod's network namespace; empty: the host's


RUN_SANDBOX = Verb(SERVICE, "run_sandbox", s.RunPodSandboxRequest, s.RunPodSandboxResponse)
STOP_SANDBOX = Verb(SERVICE, "stop_sandbox", s.StopPodSandboxRequest, s.StopPodSandboxResponse)
REMOVE_SANDBOX = Verb(SERVICE, "remove_sandbox", s.RemovePodSandboxRequest, s.RemovePodSandboxResponse)
SANDBOX_STATUS = Verb(SERVICE, "sandbox_status", s.PodSandboxStatusRequest, c.PodSandboxStatusResponse)
LIST_SANDBOXES = Verb(SERVICE, "list_sandboxes", s.ListPodSandboxRequest, s.ListPodSandboxResponse)
UPDATE_SANDBOX = Verb(
    SERVICE, "update_sandbox", s.UpdatePodSandboxResourcesRequest, s.UpdatePodSandboxResourcesResponse
)
CREATE_CONTAINER = Verb(SERVICE, "create_container", c.CreateContainerRequest, c.CreateContainerResponse)
START_CONTAINER = Verb(SERVICE, "start_container", c.StartContainerRequest, c.StartContainerResponse)
STOP_CONTAINER = Verb(SERVICE, "stop_container", c.StopContainerRequest, c.StopContainerResponse)
REMOVE_CONTAINER = Verb(SERVICE, "remove_container", c.RemoveContainerRequest, c.RemoveContainerResponse)
LIST_CONTAINERS = Verb(SERVICE, "list_containers", c.ListContainersRequest, c.ListContainersResponse)
CONTAINER_STATUS = Verb(SERVICE, "container_status", c.ContainerStatusRequest, c.ContainerStatusResponse)
UPDATE_CONTAINER = Verb(
    SERVICE, "update_container", c.UpdateContainerResourcesRequest, c.UpdateContainerResourcesResponse
)
CHECKPOINT_SANDBOX = Verb(SERVICE, "checkpoint_sandbox", s.CheckpointPodRequest, s.CheckpointPodResponse)
RESTORE_SANDBOX = Verb(SERVICE, "restore_sandbox", c.RestorePodRequest, s.RestorePodResponse)
CHECKPOINT_CONTAINER = Verb(
    SERVICE, "checkpoint_container", c.CheckpointContainerRequest, c.CheckpointContainerResponse
)
CONTAINER_STATS = Verb(SERVICE, "container_stats", u.ContainerStatsRequest, u.ContainerStatsResponse)
LIST_CONTAINER_STATS = Verb(SERVICE, "list_container_stats", u.ListContainerStatsRequest, u.ListContainerStatsResponse)
SANDBOX_STATS = Verb(SERVICE, "sandbox_stats", u.PodSandboxStatsRequest, u.PodSandboxStatsResponse)
LIST_SANDBOX_STATS = Verb(SERVICE, "list_sandbox_stats", u.ListPodSandboxStatsRequest, u.ListPodSandboxStatsResponse)
STATUS = Verb(SERVICE, "status", r.StatusRequest, r.StatusResponse)
UPDATE_CONFIG = Verb(SERVICE, "update_config", r.UpdateRuntimeConfigRequest, r.UpdateRuntimeConfigResponse)
RUNTIME_CONFIG = Verb(SERVICE, "runtime_config", r.RuntimeConfigRequest, r.RuntimeConfigResponse)
LIST_METRIC_DESCRIPTORS = Verb(
    SERVICE, "list_metric_descriptors", r.ListMetricDescriptorsRequest, r.ListMetricDescriptorsResponse
)
LIST_METRICS = Verb(SERVICE, "list_metrics", r.ListPodSandboxMetricsRequest, r.ListPodSandboxMetricsResponse)
PAGE_SANDBOXES = Verb(SERVICE, "page_sandboxes", Page[s.ListPodSandboxRequest], Paged[s.ListPodSandboxResponse])
PAGE_CONTAINERS = Verb(SERVICE, "page_containers", Page[c.ListContainersRequest], Paged[c.ListContainersResponse])
PAGE_CONTAINER_STATS = Verb(
    SERVICE, "page_container_stats", Page[u.ListContainerStatsRequest], Paged[u.ListContainerStatsResponse]
)
PAGE_SANDBOX_STATS = Verb(
    SERVICE, "page_sandbox_stats", Page[u.ListPodSandboxStatsRequest], Paged[u.ListPodSandboxStatsResponse]
)
PAGE_METRICS = Verb(
    SERVICE, "page_metrics", Page[r.ListPodSandboxMetricsRequest], Paged[r.ListPodSandboxMetricsResponse]
)
LOCATE = Verb(SERVICE, "locate", Locate, Located)
LEAVE = Verb(SERVICE, "leave", Empty, Empty)  # remove what the node keeps on the host between pods
