"""The runtime-spec document (OCI runtime-spec 1.3, `config.json`) as types for the checker alone.

The document stays the JSON it is: nothing here runs, and no module may need this one at run time,
because the executor's command line starts cold.
"""

from typing import TypedDict

VERSION = "1.3.0"


class User(TypedDict, total=False):
    uid: int
    gid: int
    umask: int
    additionalGids: list[int]


class Capabilities(TypedDict, total=False):
    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    type: str
    soft: int
    hard: int


class Scheduler(TypedDict, total=False):
    policy: str
    nice: int
    priority: int
    flags: list[str]
    runtime: int
    deadline: int
    period: int


IOPriority = TypedDict("IOPriority", {"class": str, "priority": int})


class Process(TypedDict, total=False):
    terminal: bool
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    oomScoreAdj: int
    selinuxLabel: str
    scheduler: Scheduler
    ioPriority: IOPriority


class IdMapping(TypedDict):
    containerID: int
    hostID: int
    size: int


class Mount(TypedDict, total=False):
    destination: str
    type: str
    source: str
    options: list[str]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]


class Root(TypedDict, total=False):
    path: str
    readonly: bool


class Namespace(TypedDict, total=False):
    type: str
    path: str


class Device(TypedDict, total=False):
    type: str
    path: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict, total=False):
    allow: bool
    type: str
    major: int
    minor: int
    access: str


class Memory(TypedDict, total=False):
    limit: int
    reservation: int
    swap: int
    swappiness: int
    disableOOMKiller: bool


class Cpu(TypedDict, total=False):
    shares: int
    quota: int
    burst: int
    period: int
    cpus: str
    mems: str
    idle: int


class Pids(TypedDict):
    limit: int


class HugepageLimit(TypedDict):
    pageSize: str
    limit: int


class Resources(TypedDict, total=False):
    devices: list[DeviceRule]
    memory: Memory
    cpu: Cpu
    pids: Pids
    hugepageLimits: list[HugepageLimit]
    unified: dict[str, str]


class SyscallArg(TypedDict, total=False):
    index: int
    value: int
    valueTwo: int
    op: str


class Syscall(TypedDict, total=False):
    names: list[str]
    action: str
    errnoRet: int
    args: list[SyscallArg]


class Seccomp(TypedDict, total=False):
    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[Syscall]


class MemoryPolicy(TypedDict, total=False):
    mode: str
    nodes: str
    flags: list[str]


class NetDevice(TypedDict, total=False):
    name: str


class IntelRdt(TypedDict, total=False):
    closID: str
    schemata: list[str]
    enableMonitoring: bool


class Linux(TypedDict, total=False):
    namespaces: list[Namespace]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    rootfsPropagation: str
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    memoryPolicy: MemoryPolicy
    netDevices: dict[str, NetDevice]
    intelRdt: IntelRdt


class Hook(TypedDict, total=False):
    path: str
    args: list[str]
    env: list[str]
    timeout: int


class Spec(TypedDict, total=False):
    ociVersion: str
    root: Root
    process: Process
    hostname: str
    domainname: str
    mounts: list[Mount]
    hooks: dict[str, list[Hook]]
    annotations: dict[str, str]
    linux: Linux
