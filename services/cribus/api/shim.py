"""What a pod's shim answers. Verbs are addressed by the container's id; `TAKE` and `RELEASE` by the
pod's, because a shim that does not have the container answers them too."""

from cribus.api.verb import Addressed, Empty, Message, Prompt

SERVICE = "shim"
GOING = "going"  # in the container's run directory, once its init, whose pid it says, may execute the program
TAKEN = "take.json"  # in the container's run directory: what a shim was told by `TAKE`


class Take(Message, frozen=True):
    """Take a container's descriptors, once it has an init, from its keeper and begin its log. Written to
    `<run>/containers/<id>/take.json` first, so that the next shim takes it too. Idempotent."""

    container: str
    pod: str
    pid: int = 0  # of its init, which tells one try to start it from the next; 0: not known
    log_path: str = ""  # empty: no log file
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    marked: bool = False  # the executor makes GOING before the program may run: an end without it is no exit


class Named(Message, frozen=True):
    container: str


class ExecSync(Message, frozen=True):
    container: str
    cmd: list[str]
    timeout: int = 0  # seconds; 0: none


class ExecSyncDone(Message, frozen=True):
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


class OpenExec(Message, frozen=True):
    """Start a process whose streams travel as stream `stream` (bus/streams.py)."""

    container: str
    stream: str
    cmd: list[str]
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


class OpenAttach(Message, frozen=True):
    """Watch the container and speak to it; `whole`: from its first byte on, as far as that is in a log that
    is still open, also when it has exited already."""

    container: str
    stream: str
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    whole: bool = False


class StreamOpened(Message, frozen=True):
    """The stream is served; its first frames may already be under way."""

    tty: bool = False


TAKE = Addressed(SERVICE, "take", Take, Empty)
RELEASE = Addressed(SERVICE, "release", Named, Empty)  # drained, acknowledged, forgotten
EXEC_SYNC = Prompt(SERVICE, "exec_sync", ExecSync, ExecSyncDone)
EXEC = Addressed(SERVICE, "exec", OpenExec, StreamOpened)
ATTACH = Addressed(SERVICE, "attach", OpenAttach, StreamOpened)
REOPEN_LOG = Prompt(SERVICE, "reopen_log", Named, Empty)
