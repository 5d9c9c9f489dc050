"""An outside program in place of this child: an outside runtime's command, or a hook."""

import os
import signal

from cribus.executor.child import process
from cribus.linux import fds as descriptors
from cribus.linux import process as linux_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Execute `path` with `argv`, `env` (a dictionary) and `cwd`; the first three descriptors become its
    streams, no other is left. It dies with its parent. Returns only when it cannot be executed."""
    linux_process.pdeathsig(signal.SIGKILL)
    os.setsid()
    process.streams(fds[:3])
    descriptors.close_range(3)
    process.default_signals()
    try:
        os.chdir(request["cwd"])
        os.execve(request["path"], request["argv"], request["env"])
    except OSError as error:
        os.write(2, f"{request['path']}: {error.strerror}\n".encode())
        return process.NOT_FOUND if isinstance(error, FileNotFoundError) else process.NOT_EXECUTABLE
