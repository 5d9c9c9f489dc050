"""Hooks that run in the container: createContainer and startContainer (executor/hooks.py has the others)."""

import contextlib
import os
import select
import signal

from cribus.executor.child.failure import Failed
from cribus.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class State:
    """What hooks read. Made before rights are given up: two files without a name, one for what they write."""

    def __init__(self, base: str, pid: int) -> None:
        """`base` is the JSON object without status and pid."""
        self._base = base
        self._pid = pid
        self._input = os.memfd_create("state")
        self._output = os.memfd_create("output")

    def run(self, hooks: "list[list[Any]]", status: str) -> None:
        """One after the other: [kind, path, args, env, seconds or 0]. Raises Failed with the first that fails."""
        text = f'{self._base[:-1]},"status":"{status}","pid":{self._pid}}}'.encode()
        os.ftruncate(self._input, 0)
        os.pwrite(self._input, text, 0)
        for kind, path, args, env, seconds in hooks:
            os.lseek(self._input, 0, os.SEEK_SET)
            os.ftruncate(self._output, 0)
            os.lseek(self._output, 0, os.SEEK_SET)
            why = self._ended(path, args, env, seconds)
            if why:
                raise Failed("FAILED_PRECONDITION", f"{kind} hook {path} {why}{self._last_line()}")

    def _ended(self, path: str, args: list[str], env: dict[str, str], seconds: int) -> str:
        pid, pidfd = namespaces.clone3()
        if pid == 0:
            self._become(path, args, env)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        in_time = poll.poll(seconds * 1000 if seconds else None)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if not in_time:
            return f"was killed after its {seconds} s"
        return f"ended with {code if code >= 0 else 128 - code}" if code else ""

    def _become(self, path: str, args: list[str], env: dict[str, str]) -> None:
        try:
            for number, fd in enumerate((self._input, self._output, self._output)):
                os.dup2(fd, number)
            os.execve(path, args, env)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(self._output, f"{error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _last_line(self) -> str:
        lines = os.pread(self._output, 65536, 0).decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
