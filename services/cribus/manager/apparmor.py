"""The AppArmor profile that containers get, where the host has AppArmor, unless they name another or none.

What the runtime sets up for a container is done before the profile holds: it is that of the container's own
program. apparmor.d(5), apparmor_parser(8).
"""

import asyncio
import logging
import os
import shutil
import subprocess

from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition
from cribus.manager import expendable

NAME = "cribus-default"
LOADED = "/sys/kernel/security/apparmor/profiles"
_PARSER = "apparmor_parser"
_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"
_DEADLINE = 10.0  # seconds after which it is killed
_DYING = 5.0  # seconds for that: one that waits for the kernel may never end
_AGAIN = 60.0  # seconds after which one that has failed or hung is asked again
# Files, network and capabilities are limited by other means: here is what root with capabilities must not do either.
# What later versions of AppArmor would forbid where nothing is said of it, like user namespaces, they leave as it was.
_ABI = "/etc/apparmor.d/abi/3.0"
_TEXT = f"""
profile {NAME} flags=(attach_disconnected, mediate_deleted) {{
  file,
  network,
  capability,
  umount,
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send, receive) peer={NAME},
  ptrace (trace, read, tracedby, readby) peer={NAME},
  deny mount,
  deny /proc/* w,
  deny /proc/{{acpi,asound,bus,driver,fs,irq,scsi,sys,tty}}/** wl,
  deny /proc/{{kcore,kmem,mem,sysrq-trigger}} rwklx,
  deny /sys/{{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/fs/{{bpf,btrfs,ext4,f2fs,fuse,incremental-fs,nfs,nilfs2,pstore,resctrl,selinux,smackfs,xfs,zonefs}}/** wklx,
}}
"""
_logger = logging.getLogger(__name__)


class Profiles:
    """Those of this host. Ours is loaded once a process, in case another version has left its own, and again when
    somebody has unloaded it."""

    def __init__(self, loaded: str = LOADED) -> None:
        self._loaded = loaded
        self._ours = False
        self._loading = asyncio.Lock()
        self._failure = ""  # of the last loading, and until when it is not tried again
        self._until = 0.0

    async def default(self) -> str:
        """Our own's name, once it is loaded. Raises FailedPrecondition when it cannot be."""
        async with self._loading:
            if not (self.has(NAME) and self._ours):
                await self._load()
        return NAME

    async def _load(self) -> None:
        """A failure holds for a while: else each of many containers waits for a program that hangs, one after the
        other. What is missing is looked for each time."""
        program = _program()
        now = asyncio.get_running_loop().time
        if now() < self._until:
            raise FailedPrecondition(self._failure)
        try:
            await _load(program)
        except FailedPrecondition as error:
            self._failure, self._until = error.message, now() + _AGAIN
            raise
        self._ours = True

    async def default_or_none(self) -> str:
        """The same for a container that nobody wants a profile for: empty when it cannot be loaded."""
        try:
            return await self.default()
        except CribusError as error:
            _logger.warning("containers run without an AppArmor profile", extra={"cause": error.message})
            return ""

    def has(self, name: str) -> bool:
        """Whether a profile of this name is loaded now. Raises FailedPrecondition when that cannot be seen."""
        try:
            with open(self._loaded) as file:
                return any(line.startswith(f"{name} (") for line in file)
        except OSError as error:
            raise FailedPrecondition(
                f"AppArmor is active, but its profiles cannot be read: {self._loaded}: {error.strerror}; "
                "mount securityfs on /sys/kernel/security"
            ) from error


def _program() -> str:
    found = shutil.which(_PARSER, path=_PLACES)
    if found is None:
        raise _unloadable(f"{_PARSER} is not installed; it is in Debian's package apparmor")
    return found


async def _load(program: str) -> None:
    try:
        done = await expendable.run(
            lambda: _parsed(program), f"loading the AppArmor profile {NAME}", _DEADLINE + _DYING
        )
    except (subprocess.TimeoutExpired, DeadlineExceeded) as error:
        raise _unloadable(f"{program} gives no answer within {_DEADLINE:g} s") from error
    except OSError as error:
        raise _unloadable(f"{program}: {error.strerror}") from error
    if done.returncode:
        raise _unloadable(" ".join(done.stderr.split()) or f"{program} ended with {done.returncode}")


def _unloadable(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the AppArmor profile {NAME} cannot be loaded: {why}")


def _parsed(program: str) -> "subprocess.CompletedProcess[str]":
    text = f"abi <abi/3.0>,\n{_TEXT}" if os.path.exists(_ABI) else _TEXT
    argv = [program, "--replace", "--skip-cache", "--quiet"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_DEADLINE)
