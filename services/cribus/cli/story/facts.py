"""What is known of a pod when somebody asks why. Data only; times in ns since the epoch or ns."""

from cribus.api.events import Event
from cribus.api.trace import Span
from cribus.api.verb import Message

SERVICES = ("gateway", "manager", "images", "shimd", "executor")


class Container(Message, frozen=True):
    """A container as its record has it, or as far as its events tell when the record is gone."""

    id: str
    name: str = ""
    state: str = "removed"
    image: str = ""
    image_id: str = ""
    reason: str = ""
    message: str = ""
    memory_limit: int = 0  # bytes; 0: none


class Doing(Message, frozen=True):
    """Something that a service is doing now. `thread` is the kernel's number, 0 when it is in none."""

    service: str
    pid: int
    span: Span
    thread: int = 0


class Hang(Message, frozen=True):
    """A thread that does not get on: in which system call, on what, since when (0: not known)."""

    pid: int
    thread: int
    program: str
    state: str  # proc_pid_stat(5)
    call: str = ""  # `newfstatat`
    on: str = ""  # path or descriptor that the call is about
    kernel: str = ""  # where in the kernel it waits
    since: int = 0
    owner: str = ""  # id of the pod or container that it is for, where that shows
    service: str = ""  # below which it runs


class Story(Message, frozen=True):
    """Everything about one pod."""

    node: str
    now: int
    pod: str = ""
    name: str = ""
    namespace: str = ""
    state: str = "unknown"
    created: int = 0
    containers: list[Container] = []
    events: list[Event] = []  # of the pod, its containers and images, and of services, by time
    spans: list[Span] = []  # of the traces that have to do with it, by time
    doing: list[Doing] = []
    hangs: list[Hang] = []
    silent: dict[str, int] = {}  # services that do not say what they do, with their pids
    known_since: int = 0  # spans from before are not kept

    def ids(self) -> set[str]:
        """Of the pod and its containers."""
        return {self.pod, *(one.id for one in self.containers)} - {""}
