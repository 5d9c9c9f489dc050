"""What the rig's keeper starts as init."""

import os


def execute(request, fds):  # type: ignore[no-untyped-def]
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.execvp(request["argv"][0], request["argv"])
