"""A further process in a running container. Born in the container's PID namespace by the fork server.

Descriptors: pidfd of init, the error pipe, the pod's user namespace or init's pidfd again, then stdin,
stdout and stderr, or a socket to which the master of its terminal goes.
"""

import os

from cribus.executor.child import process, steps, terminal
from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import namespaces
from cribus.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CGROUPS = Step("exec.set-up.cgroups")
_ENTERED = Step("exec.set-up.entered")
_TERMINAL = Step("exec.set-up.terminal")


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Never returns when all goes well."""
    pidfd, sync, users = fds[:3]
    what = request["process"]
    try:
        os.setsid()
        process.limits(what, sync)
        before, after = request["affinity"]
        if before:
            _on_cpus(before)
        with _CGROUPS.of():
            steps.cgroups(steps.Work(), request["cgroups"])
        if after:
            _on_cpus(after)
        elif not before:
            process.any_cpu()
        host = terminal.Host() if what["terminal"] else None
        with _ENTERED.of():
            namespaces.setns(pidfd, request["flags"])
        if host is not None:
            with _TERMINAL.of():
                _terminal(host, fds[3], what)
        else:
            process.streams(fds[3:6])
        tell(sync, "ready", "")
        process.become(what, users if request["users"] else -1)
    except Failed as failure:
        tell(sync, "error", f"{failure.code} {failure.message}")
        return process.exit_code(failure)
    except ProcessLookupError:
        tell(sync, "error", "FAILED_PRECONDITION the container has just exited; nothing can be started in it")
        return process.NOT_EXECUTABLE
    except OSError as error:
        tell(sync, "error", f"{code(error)} process cannot enter the container: {reason(error)}")
        return process.NOT_EXECUTABLE
    return process.NOT_EXECUTABLE


def _on_cpus(wanted: list[int]) -> None:
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        text = f"process.execCPUAffinity: CPUs {','.join(map(str, wanted))} cannot be had: {error.strerror}"
        raise Failed("INVALID_ARGUMENT", text) from error


def _terminal(host: terminal.Host, link: int, what: "dict[str, Any]") -> None:
    master = host.master()
    slave = terminal.pair(master, what["size"])
    process.terminal(slave)
    terminal.hand_over(link, master)
