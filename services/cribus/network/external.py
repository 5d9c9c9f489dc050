"""Running a CNI plugin that is a program, as the specification says: environment, stdin, stdout.

Source: CNI specification 1.1, sections 2 (execution protocol), 5 (result types and errors).
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from typing import Any

from cribus.errors import (
    CribusError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from cribus.network import talk

DEADLINE = 90.0  # seconds for one plugin; the kubelet gives RunPodSandbox four minutes
_PROMPT = 5.0  # seconds for what others wait for: STATUS, and GC at start-up
_INVALID = {1, 2, 3, 4, 6, 7}  # version, field, container unknown, environment, decode, configuration


@dataclass(slots=True, frozen=True)
class Call:
    """What one attachment asks of every plugin. `netns` is empty once the namespace is gone."""

    container: str
    netns: str
    interface: str
    args: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, Any] = field(default_factory=dict)
    host_link: str = ""  # the host end of a veth that we make


def find(kind: str, bin_dirs: tuple[str, ...]) -> str:
    """The plugin's program. Raises FailedPrecondition when no folder has it."""
    for folder in bin_dirs:
        path = os.path.join(folder, kind)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise FailedPrecondition(
        f"CNI plugin {kind} is in none of {', '.join(bin_dirs)}: install it or correct network.bin_dirs"
    )


def run(bin_dirs: tuple[str, ...], command: str, conf: dict[str, Any], call: Call) -> dict[str, Any]:
    """Execute one command (ADD, CHECK, DEL, STATUS, GC); its result, empty where there is none.

    Raises FailedPrecondition when the plugin is in none of the folders, the plugin's own error in its words, or
    DeadlineExceeded; then its whole process group is dead.
    """
    path = find(conf["type"], bin_dirs)
    deadline = min(DEADLINE, _PROMPT) if command in ("STATUS", "GC") else DEADLINE
    environment = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "CNI_COMMAND": command,
        "CNI_PATH": ":".join(bin_dirs),
    }
    if command not in ("STATUS", "GC"):
        environment |= {
            "CNI_CONTAINERID": call.container,
            "CNI_NETNS": call.netns,
            "CNI_IFNAME": call.interface,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in call.args.items()),
        }
    what = f"CNI plugin {conf['type']} {command}"
    with _started(path, environment) as program:
        try:
            said = talk.talk(program, json.dumps(conf).encode(), deadline)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # not reaped yet, so the group is still its own
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"{what} did not finish in {deadline:g} s and was killed") from error
            if isinstance(error, talk.TooMuchError):
                raise FailedPrecondition(f"{what} printed more than {error} bytes and was killed") from error
            raise
    return _answer(what, program.returncode, said)


def _started(path: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Raises ResourceExhausted for want of processes, FailedPrecondition for what is no program."""
    try:
        return subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, start_new_session=True, cwd="/",
        )  # fmt: skip
    except OSError as error:
        kind = ResourceExhausted if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE) else FailedPrecondition
        raise kind(f"CNI plugin {path} cannot be executed: {error.strerror}") from error


def _answer(what: str, code: int, said: tuple[bytes, bytes]) -> dict[str, Any]:
    try:
        document = json.loads(said[0]) if said[0].strip() else {}
    except ValueError:
        document = None
    if code == 0:
        if not isinstance(document, dict):
            raise FailedPrecondition(f"{what} printed no JSON result: {said[0][:200]!r}")
        return document
    if isinstance(document, dict) and isinstance(document.get("code"), int):
        details = f" ({document['details']})" if document.get("details") else ""
        raise _kind(document["code"])(f"{what} failed: {document.get('msg', '')}{details}")
    words = (said[1] or said[0]).decode(errors="replace").strip()[-500:]
    raise Unavailable(f"{what} failed with status {code}: {words or 'it gave no reason'}")


def _kind(code: int) -> type[CribusError]:
    """The class for a code of the specification's table; 11 (try again) and a plugin's own: repeat."""
    return InvalidArgument if code in _INVALID else Unavailable
