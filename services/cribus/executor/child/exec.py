"""A further process in a running container. Born in the container's PID namespace by the fork server.

Descriptors: pidfd of init, the error pipe, the pod's user namespace or init's pidfd again, then stdin,
stdout and stderr, or a terminal alone.
"""

import os

from cribus.executor.child import process, steps
from cribus.executor.child.failure import Failed, reason, tell
from cribus.linux import namespaces
from cribus.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CGROUPS = Step("exec.set-up.cgroups")
_ENTERED = Step("exec.set-up.entered")


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Never returns when all goes well."""
    pidfd, sync, users = fds[:3]
    what = request["process"]
    try:
        os.setsid()
        process.limits(what, sync)
        with _CGROUPS.of():
            steps.cgroups(steps.Work(), request["cgroups"])
        with _ENTERED.of():
            namespaces.setns(pidfd, request["flags"])
        if what["terminal"]:
            process.terminal(fds[3])
        else:
            process.streams(fds[3:6])
        process.become(what, users if request["users"] else -1)
    except Failed as failure:
        tell(sync, "error", f"{failure.code} {failure.message}")
        return process.exit_code(failure)
    except ProcessLookupError:
        tell(sync, "error", "FAILED_PRECONDITION the container has just exited; nothing can be started in it")
        return process.NOT_EXECUTABLE
    except OSError as error:
        tell(sync, "error", f"INTERNAL process cannot enter the container: {reason(error)}")
        return process.NOT_EXECUTABLE
    return process.NOT_EXECUTABLE
