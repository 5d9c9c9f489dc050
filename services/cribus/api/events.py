"""News: what services say when something has happened. Subject `cribus.<node>.events.<kind>.<id>`.

Times are ns since the epoch. An event is published with the message id `<kind>.<id>[.<n>]`, so a
repeat of the same news is dropped by the stream."""

from cribus.api.verb import Message

# kinds
SANDBOX_READY = "sandbox_ready"
SANDBOX_STOPPED = "sandbox_stopped"
SANDBOX_REMOVED = "sandbox_removed"
CONTAINER_CREATED = "container_created"
CONTAINER_STARTED = "container_started"
EXITED = "exited"  # from the shim: the init of a container ended
CONTAINER_STOPPED = "container_stopped"  # from the manager: the exit is in the record
CONTAINER_REMOVED = "container_removed"
IMAGE_PULLED = "image_pulled"
IMAGE_REMOVED = "image_removed"
SERVICE_STARTED = "service_started"  # a process of a service begins to answer; `id` is the service
SERVICE_REPLACED = "service_replaced"  # from the manager: a program of the node, `id`, hung and was replaced
SHIM_REPLACED = "shim_replaced"  # from shimd: a pod's shim died or hung, and another took over
# from the shim: a log began to lose output (detail cause), or lost so much in all (lost_bytes, no cause)
LOG_LOST = "log_lost"
PULL_PROGRESS = "pull_progress"  # not stored: published outside the stream, see api/images.py


class Event(Message, frozen=True):
    kind: str
    id: str  # of the pod, container or image
    at: int
    pod: str = ""
    exit_code: int = 0
    exit_known: bool = True
    oom: bool = False
    signal: int = 0  # that ended it; 0: it ended by itself, or that is not known
    pid: int = 0  # of the init that ended; 0: not known
    detail: dict[str, str] = {}
    trace: str = ""
    # What PodSandboxStatus answered of the pod when this happened, as msgpack: whoever reads the event later,
    # or twice, sees the same. Empty where it is not the manager's event, or would be too large.
    state: bytes = b""
