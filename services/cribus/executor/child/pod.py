"""A pod's namespaces: made in a short-lived child, held by bind mounts.

The PID namespace, if the pod shares one, needs an init: a process that reaps and does nothing else.
"""

import contextlib
import os
import select
import signal
import socket

from cribus.executor.child import steps
from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import fds as descriptors
from cribus.linux import mount, namespaces, process
from cribus.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNSHARED = namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS
_DIRECTORY = Step("pod.pin.directory")
_MEMORY = Step("pod.pin.memory")
_NAMESPACES = Step("pod.pin.namespaces")
_PIN = Step("pod.pin.one")
_REAPER = Step("pod.pin.reaper")


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Descriptors: the error pipe, on which "ready PID" says that all is pinned (PID of the namespace's
    init, or 0)."""
    sync = fds[0]
    try:
        with _DIRECTORY.of():
            _private_directory(request["directory"])
        with _MEMORY.of():
            _shared_memory(request)
        flags = request["flags"]
        with _NAMESPACES.of():
            if flags & namespaces.CLONE_NEWUSER:
                _with_users(request, fds)
            else:
                _without_users(request)
        with _REAPER.of():
            pid = _reaper(request) if flags & namespaces.CLONE_NEWPID else 0
    except OSError as error:
        tell(sync, "error", f"{code(error)} namespaces of the pod: {reason(error)}")
        return 1
    except Failed as failure:
        tell(sync, "error", f"{failure.code} {failure.message}")
        return 1
    tell(sync, "ready", str(pid))
    return 0


def _private_directory(path: str) -> None:
    """So that the pins do not spread into other mount namespaces, which would keep them alive."""
    if not os.path.ismount(path):
        mount.bind(path, path)
        mount.change(path, mount.MS_PRIVATE)


def _shared_memory(request: "dict[str, Any]") -> None:
    path = request["shm"]
    if path and not os.path.ismount(path):
        flags = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
        owner = f",uid={request['owner'][0]},gid={request['owner'][1]}"
        mount.mount("shm", path, "tmpfs", (flags, f"mode=1777,size={request['shm_size']}{owner}"))
        mount.change(path, mount.MS_PRIVATE)


def _without_users(request: "dict[str, Any]") -> None:
    namespaces.unshare(request["flags"] & _UNSHARED)
    _adjust(request)
    _pin(request["pins"], "self")


def _with_users(request: "dict[str, Any]", fds: list[int]) -> None:
    """The other namespaces belong to the user namespace: a child makes all of them at once."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, _ = namespaces.clone3(request["flags"] & (_UNSHARED | namespaces.CLONE_NEWUSER))
    if pid == 0:
        _inside(request, ours, theirs)
    theirs.close()
    try:
        for name, text in zip(("uid_map", "gid_map"), request["maps"], strict=True):
            steps.write(f"/proc/{pid}/{name}", text.encode())
        ours.send(b"go")
        answer = ours.recv(4096)
        if answer != b"ok":
            raise Failed("INVALID_ARGUMENT", answer.decode(errors="replace") or "the pod's first process died")
        _pin(request["pins"], str(pid))
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _inside(request: "dict[str, Any]", ours: socket.socket, theirs: socket.socket) -> None:
    """The child in the new user namespace: sets what belongs to it, waits until it is pinned."""
    code = 1
    try:
        ours.close()
        if theirs.recv(16) == b"go":
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            try:
                _adjust(request)
            except (Failed, OSError) as failure:
                theirs.send(str(failure).encode())
            else:
                theirs.send(b"ok")
                theirs.recv(16)
                code = 0
    finally:
        os._exit(code)


def _adjust(request: "dict[str, Any]") -> None:
    """Host name and sysctls of the new namespaces. Raises Failed."""
    if request["hostname"]:
        socket.sethostname(request["hostname"])
    for name, path, value in request["sysctls"]:
        try:
            steps.write("/proc/sys/" + path, value.encode())
        except OSError as error:
            raise Failed("INVALID_ARGUMENT", f"sysctl {name}={value}: {error.strerror}") from error


def _pin(pins: dict[str, str], pid: str) -> None:
    """Bind each namespace of the process to its file."""
    for kind, path in pins.items():
        if kind != "pid":
            with _PIN.of():
                _bind(f"/proc/{pid}/ns/{kind}", path)


def _bind(source: str, path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    mount.bind(source, path)


def _reaper(request: "dict[str, Any]") -> int:
    """Fork the PID namespace's init, pin its namespace: its pid, once its cgroup has it."""
    read, write = os.pipe()
    pid, _ = namespaces.clone3(namespaces.CLONE_NEWPID)
    if pid == 0:
        try:
            os.close(read)
            _reap_forever(request, write)
        finally:
            os._exit(1)
    os.close(write)
    _bind(f"/proc/{pid}/ns/pid", request["pins"]["pid"])
    if not os.read(read, 1):
        raise Failed("ABORTED", "the first process of the pod's PID namespace was killed; repeat")
    os.close(read)
    return pid


def _orphaned(pipe: int) -> bool:
    """Whether nobody reads there any more."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def _reap_forever(request: "dict[str, Any]", joined: int) -> None:
    """Init of the pod's PID namespace: only SIGKILL from outside ends it."""
    process.pdeathsig(signal.SIGKILL)  # until the cgroup has it, only its parent knows of it
    if _orphaned(joined):
        return
    os.setsid()
    steps.cgroups(steps.Work(), request["cgroups"])
    process.pdeathsig(0)
    process.set_name("pause")
    for kind, path in request["pins"].items():
        if kind in ("net", "ipc", "uts"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            namespaces.setns(fd)
            os.close(fd)
    with contextlib.suppress(BrokenPipeError):
        os.write(joined, b"1")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    descriptors.close_all_but([0, 1, 2])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        signal.sigwaitinfo([signal.SIGCHLD])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
