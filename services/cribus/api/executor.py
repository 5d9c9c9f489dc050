"""What the executor answers: the OCI runtime. Paths are of the host; times are ns since the epoch."""

from cribus.api.verb import Empty, Message, Once, Verb

SERVICE = "executor"
STDIN = "dev.cribus.stdin"  # annotation of a runtime-spec: "true" when the standard input is kept for attach
POD = "io.kubernetes.cri.sandbox-id"  # annotation: the pod's id
HANDLER = "io.containerd.cri.runtime-handler"  # annotation: the pod's runtime handler, if it has a name


class IdMap(Message, frozen=True):
    container: int = 0
    host: int = 0
    size: int = 0


class CreatePod(Message, frozen=True):
    """Pin a sandbox's namespaces under `<run>/pods/<pod>/ns/` and make its cgroup. Idempotent."""

    pod: str
    namespaces: list[str] = []  # of net, ipc, uts, pid, user: those that the pod has of its own
    hostname: str = ""
    sysctls: dict[str, str] = {}
    cgroup_parent: str = ""  # as CRI gives it; empty: the node's own
    uids: list[IdMap] = []
    gids: list[IdMap] = []
    shm_size: int = 67108864


class PodCreated(Message, frozen=True):
    namespaces: dict[str, str] = {}  # net → /run/cribus/pods/<pod>/ns/net
    cgroup: str = ""  # the pod's cgroup, a path below each hierarchy's root
    pid: int = 0  # the PID namespace's init, when the pod shares one, else 0


class DeletePod(Message, frozen=True):
    """Kill what is left in the pod's cgroup, unpin, remove its cgroup and run directory. Idempotent."""

    pod: str
    cgroup_parent: str = ""  # as the pod was made with, should what was written down be lost


class Create(Message, frozen=True):
    """OCI create: keeper and init up to the start barrier. `<run>/containers/<id>/config.json` is
    the runtime-spec. A repeat for a container that is created already answers the same."""

    container: str
    pod: str
    handler: str = ""
    restore: str = ""  # folder of a checkpoint, its images in `checkpoint/`: what it has takes the program's place
    early: bool = False  # answer once init is there: START waits until it is set up, and tells if that failed


class Created(Message, frozen=True):
    pid: int
    started: int = 0  # field 22 of /proc/<pid>/stat: with the pid, a name that is not reused
    keeper: int = 0


class Named(Message, frozen=True):
    """A request about one container."""

    container: str


class Kill(Message, frozen=True):
    container: str
    signal: int = 15
    all: bool = False  # every process of its cgroup


class Exec(Message, frozen=True):
    """Start a process in a container. The executor fetches its descriptors from the pod's shim at
    `<run>/pods/<pod>/shim.sock` by `exec_id`, and answers the pidfd there."""

    container: str
    pod: str
    exec_id: str
    args: list[str]
    tty: bool = False
    env: list[str] = []  # added to the container's own
    cwd: str = ""


class Execed(Message, frozen=True):
    pid: int
    started: int = 0  # start time, in ticks: with the pid a name that is not used again


class Resources(Message, frozen=True):
    """Limits as runtime-spec's linux.resources, in its own JSON shape."""

    container: str
    resources: dict[str, object] = {}


class Checkpoint(Message, frozen=True):
    """Have CRIU write down what a paused container is: its images into `<folder>/checkpoint/`, its log and
    figures into `folder`, which is there and empty. The container stays paused; RESUME waits for CRIU's end."""

    container: str
    folder: str


class Criu(Message, frozen=True):
    """Whether this host can checkpoint and restore."""

    version: str = ""
    missing: str = ""  # why it cannot; empty: it can


class State(Message, frozen=True):
    """What is true now, read from the run directory and the kernel."""

    container: str
    pod: str = ""
    status: str = "stopped"  # creating, created, running, paused, stopped
    pid: int = 0  # also when it has ended
    created_at: int = 0
    started_at: int = 0
    exited_at: int = 0
    exit_code: int = 0
    exit_known: bool = False  # a witness saw the exit; without, the code is not to be trusted
    oom: bool = False
    bundle: str = ""
    cgroup: str = ""


class Features(Message, frozen=True):
    """What containers of a runtime handler can have."""

    recursive_readonly: bool = False
    idmapped: bool = False  # mounts with the owners of a user namespace, and so user namespaces
    missing: str = ""  # why it makes no container at all; empty: it does


class Handlers(Message, frozen=True):
    """Runtime handlers by name; the one without a name is what pods get that ask for none."""

    handlers: dict[str, Features] = {}


class States(Message, frozen=True):
    containers: list[State] = []
    pods: list[str] = []  # pods with a run directory
    dead: list[str] = []  # of these, pods that have nothing but files: the host went down since they were made


CREATE_POD = Verb(SERVICE, "create_pod", CreatePod, PodCreated)
DELETE_POD = Verb(SERVICE, "delete_pod", DeletePod, Empty)
CREATE = Verb(SERVICE, "create", Create, Created)
START = Verb(SERVICE, "start", Named, Empty)
KILL = Verb(SERVICE, "kill", Kill, Empty)
DELETE = Verb(SERVICE, "delete", Named, Empty)  # from every state; idempotent
EXEC = Once(SERVICE, "exec", Exec, Execed)
PAUSE = Verb(SERVICE, "pause", Named, Empty)
RESUME = Verb(SERVICE, "resume", Named, Empty)
UPDATE = Verb(SERVICE, "update", Resources, Empty)
CHECKPOINT = Verb(SERVICE, "checkpoint", Checkpoint, Empty)
CRIU = Verb(SERVICE, "criu", Empty, Criu)
STATE = Verb(SERVICE, "state", Named, State)
STATES = Verb(SERVICE, "states", Empty, States)
HANDLERS = Verb(SERVICE, "handlers", Empty, Handlers)
