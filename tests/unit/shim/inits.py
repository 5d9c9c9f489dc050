"""What the rig's keeper starts as init."""

import os
import signal


def execute(request, fds):  # type: ignore[no-untyped-def]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
    os.execvp(request["argv"][0], request["argv"])
