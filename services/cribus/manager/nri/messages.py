"""What NRI says (package nri.pkg.api.v1alpha1, version 0.12): data only. A field's place is its number.

Names are the runtime-spec's or CRI's where these have one; on the wire there are only numbers.
"""

from typing import ClassVar

from cribus.manager.nri.protobuf import Message, Unsigned

# Pods and containers as plugins see them


class Mount(Message):
    destination: str = ""
    type: str = ""
    source: str = ""
    options: list[str] = []


class Hook(Message):
    path: str = ""
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class Hooks(Message):
    prestart: list[Hook] = []
    createRuntime: list[Hook] = []
    createContainer: list[Hook] = []
    startContainer: list[Hook] = []
    poststart: list[Hook] = []
    poststop: list[Hook] = []


class Namespace(Message):
    type: str = ""
    path: str = ""


class Device(Message):
    path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    fileMode: Unsigned | None = None
    uid: Unsigned | None = None
    gid: Unsigned | None = None


class DeviceRule(Message):
    allow: bool = False
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Memory(Message):
    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernelTCP: int | None = None
    swappiness: Unsigned | None = None
    disableOOMKiller: bool | None = None
    useHierarchy: bool | None = None


class Cpu(Message):
    shares: Unsigned | None = None
    quota: int | None = None
    period: Unsigned | None = None
    realtimeRuntime: int | None = None
    realtimePeriod: Unsigned | None = None
    cpus: str = ""
    mems: str = ""


class HugepageLimit(Message):
    pageSize: str = ""
    limit: Unsigned = 0


class Pids(Message):
    limit: int = 0


class Resources(Message):
    memory: Memory | None = None
    cpu: Cpu | None = None
    hugepageLimits: list[HugepageLimit] = []
    blockio_class: str | None = None
    rdt_class: str | None = None
    unified: dict[str, str] = {}
    devices: list[DeviceRule] = []
    pids: Pids | None = None


class SecurityProfile(Message):
    profile_type: int = 0
    localhost_ref: str = ""


class SyscallArg(Message):
    index: Unsigned = 0
    value: Unsigned = 0
    valueTwo: Unsigned = 0
    op: str = ""


class Syscall(Message):
    names: list[str] = []
    action: str = ""
    errnoRet: Unsigned | None = None
    args: list[SyscallArg] = []


class Seccomp(Message):
    defaultAction: str = ""
    defaultErrnoRet: Unsigned | None = None
    architectures: list[str] = []
    flags: list[str] = []
    listenerPath: str = ""
    listenerMetadata: str = ""
    syscalls: list[Syscall] = []


class IOPriority(Message):
    kind: int = 0  # a place in IO_CLASSES
    priority: int = 0


class NetDevice(Message):
    name: str = ""


class Scheduler(Message):
    policy: int = 0  # a place in POLICIES
    nice: int = 0
    priority: int = 0
    flags: list[int] = []  # places in SCHEDULER_FLAGS
    runtime: Unsigned = 0
    deadline: Unsigned = 0
    period: Unsigned = 0


class MemoryPolicy(Message):
    mode: int = 0  # a place in MEMORY_MODES
    nodes: str = ""
    flags: list[int] = []  # places in MEMORY_FLAGS


class Rdt(Message):
    closID: str | None = None
    schemata: list[str] | None = None
    enableMonitoring: bool | None = None
    remove: bool = False


IO_CLASSES = ("", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
POLICIES = ("", *(f"SCHED_{name}" for name in ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")))
_FLAGS = ("RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX")
SCHEDULER_FLAGS = tuple(f"SCHED_FLAG_{name}" for name in _FLAGS)
_MODES = ("DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE")
MEMORY_MODES = tuple(f"MPOL_{name}" for name in _MODES)
MEMORY_FLAGS = tuple(f"MPOL_F_{name}" for name in ("STATIC_NODES", "RELATIVE_NODES", "NUMA_BALANCING"))


class LinuxContainer(Message):
    namespaces: list[Namespace] = []
    devices: list[Device] = []
    resources: Resources | None = None
    oom_score_adj: int | None = None
    cgroups_path: str = ""
    io_priority: IOPriority | None = None
    seccomp_profile: SecurityProfile | None = None
    seccomp_policy: Seccomp | None = None
    sysctl: dict[str, str] = {}
    net_devices: dict[str, NetDevice] = {}
    scheduler: Scheduler | None = None
    rdt: Rdt | None = None


class Rlimit(Message):
    type: str = ""
    hard: Unsigned = 0
    soft: Unsigned = 0


class CDIDevice(Message):
    name: str = ""


class User(Message):
    uid: Unsigned = 0
    gid: Unsigned = 0
    additionalGids: list[Unsigned] = []


class Image(Message):
    name: str = ""
    digest: str = ""
    config_digest: str = ""


class Container(Message):
    id: str = ""
    pod_sandbox_id: str = ""
    name: str = ""
    state: int = 0  # unknown, created, paused, running, stopped
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    args: list[str] = []
    env: list[str] = []
    mounts: list[Mount] = []
    hooks: Hooks | None = None
    linux: LinuxContainer | None = None
    pid: Unsigned = 0
    rlimits: list[Rlimit] = []
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    status_reason: str = ""
    status_message: str = ""
    cdi_devices: list[CDIDevice] = []
    user: User | None = None
    image: Image | None = None


class LinuxPodSandbox(Message):
    pod_overhead: Resources | None = None
    pod_resources: Resources | None = None
    cgroup_parent: str = ""
    cgroups_path: str = ""
    namespaces: list[Namespace] = []
    resources: Resources | None = None


class PodSandbox(Message):
    id: str = ""
    name: str = ""
    uid: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    runtime_handler: str = ""
    linux: LinuxPodSandbox | None = None
    pid: Unsigned = 0
    ips: list[str] = []


# What plugins want changed


class KeyValue(Message):
    key: str = ""
    value: str = ""


class LinuxContainerAdjustment(Message):
    devices: list[Device] = []
    resources: Resources | None = None
    cgroups_path: str = ""
    oom_score_adj: int | None = None
    io_priority: IOPriority | None = None
    seccomp_policy: Seccomp | None = None
    namespaces: list[Namespace] = []
    sysctl: dict[str, str] = {}
    net_devices: dict[str, NetDevice] = {}
    scheduler: Scheduler | None = None
    rdt: Rdt | None = None
    memory_policy: MemoryPolicy | None = None


class ContainerAdjustment(Message):
    FIRST: ClassVar[int] = 2
    annotations: dict[str, str] = {}
    mounts: list[Mount] = []
    env: list[KeyValue] = []
    hooks: Hooks | None = None
    linux: LinuxContainerAdjustment | None = None
    rlimits: list[Rlimit] = []
    cdi_devices: list[CDIDevice] = []
    args: list[str] = []


class LinuxContainerUpdate(Message):
    resources: Resources | None = None


class ContainerUpdate(Message):
    container_id: str = ""
    linux: LinuxContainerUpdate | None = None
    ignore_failure: bool = False


class ContainerEviction(Message):
    container_id: str = ""
    reason: str = ""


class CompoundFieldOwners(Message):
    owners: dict[str, str] = {}


class FieldOwners(Message):
    simple: dict[int, str] = {}
    compound: dict[int, CompoundFieldOwners] = {}


class OwningPlugins(Message):
    owners: dict[str, FieldOwners] = {}


class PluginInstance(Message):
    name: str = ""
    index: str = ""


# Requests and answers


class Empty(Message):
    pass


class RegisterPluginRequest(Message):
    plugin_name: str = ""
    plugin_idx: str = ""
    nri_version: str = ""


class UpdateContainersRequest(Message):
    update: list[ContainerUpdate] = []
    evict: list[ContainerEviction] = []


class UpdateContainersResponse(Message):
    failed: list[ContainerUpdate] = []


class ConfigureRequest(Message):
    config: str = ""
    runtime_name: str = ""
    runtime_version: str = ""
    registration_timeout: int = 0  # ms
    request_timeout: int = 0  # ms
    nri_version: str = ""


class ConfigureResponse(Message):
    FIRST: ClassVar[int] = 2
    events: int = 0


class SynchronizeRequest(Message):
    pods: list[bytes] = []  # each an encoded PodSandbox: many are packed one by one
    containers: list[bytes] = []
    more: bool = False


class SynchronizeResponse(Message):
    update: list[ContainerUpdate] = []
    more: bool = False


class PodRequest(Message):
    """Of RunPodSandbox, PostUpdatePodSandbox, StopPodSandbox and RemovePodSandbox."""

    pod: PodSandbox | None = None


class UpdatePodSandboxRequest(Message):
    pod: PodSandbox | None = None
    overhead: Resources | None = None
    resources: Resources | None = None


class ContainerRequest(Message):
    """Of everything about a container but UpdateContainer."""

    pod: PodSandbox | None = None
    container: Container | None = None


class UpdateContainerRequest(Message):
    pod: PodSandbox | None = None
    container: Container | None = None
    resources: Resources | None = None


class CreateContainerResponse(Message):
    adjust: ContainerAdjustment | None = None
    update: list[ContainerUpdate] = []
    evict: list[ContainerEviction] = []


class ChangeResponse(Message):
    """Of UpdateContainer; of StopContainer, which knows no eviction."""

    update: list[ContainerUpdate] = []
    evict: list[ContainerEviction] = []


class StateChangeEvent(Message):
    event: int = 0
    pod: PodSandbox | None = None
    container: Container | None = None


class ValidateRequest(Message):
    pod: PodSandbox | None = None
    container: Container | None = None
    adjust: ContainerAdjustment | None = None
    update: list[ContainerUpdate] = []
    owners: OwningPlugins | None = None
    plugins: list[PluginInstance] = []


class ValidateResponse(Message):
    reject: bool = False
    reason: str = ""


# ttrpc's own


class Pair(Message):
    key: str = ""
    value: str = ""


class Request(Message):
    service: str = ""
    method: str = ""
    payload: bytes = b""
    timeout_nano: int = 0
    metadata: list[Pair] = []


class Status(Message):
    code: int = 0
    message: str = ""


class Response(Message):
    status: Status | None = None
    payload: bytes = b""
