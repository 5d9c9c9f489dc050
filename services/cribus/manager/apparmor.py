"""The AppArmor profile that containers get, where the host has AppArmor, unless they name another or none.

What the runtime sets up for a container is done before the profile holds: it is that of the container's own
program. apparmor.d(5), apparmor_parser(8).
"""

import asyncio
import logging
import os
import shutil
import subprocess

from cribus.errors import CribusError, FailedPrecondition
from cribus.manager import expendable

NAME = "cribus-default"
LOADED = "/sys/kernel/security/apparmor/profiles"
_PARSER = "apparmor_parser"
_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"
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


def available() -> bool:
    """Whether a profile can be loaded: there is a program for it, and the kernel shows where."""
    return os.path.exists(LOADED) and shutil.which(_PARSER, path=_PLACES) is not None


class Profiles:
    """Those of this host. Ours is loaded once a process, in case another version has left its own, and again when
    somebody has unloaded it."""

    def __init__(self, loaded: str = LOADED) -> None:
        self._loaded = loaded
        self._ours = False
        self._loading = asyncio.Lock()

    async def default(self) -> str:
        """Our own's name, once it is loaded. Raises FailedPrecondition when it cannot be."""
        async with self._loading:
            if not (self._ours and self.has(NAME)):
                await _load()
                self._ours = True
        return NAME

    async def default_or_none(self) -> str:
        """The same for a container that nobody wants a profile for: empty when it cannot be loaded."""
        try:
            return await self.default()
        except CribusError as error:
            _logger.warning("containers run without an AppArmor profile", extra={"cause": error.message})
            return ""

    def has(self, name: str) -> bool:
        """Whether a profile of this name is loaded now."""
        with open(self._loaded) as file:
            return any(line.startswith(f"{name} (") for line in file)


async def _load() -> None:
    done = await expendable.run(_parsed, f"loading the AppArmor profile {NAME}")
    if done.returncode:
        why = " ".join(done.stderr.split())
        raise FailedPrecondition(f"the AppArmor profile {NAME} cannot be loaded: {why or done.returncode}")


def _parsed() -> "subprocess.CompletedProcess[str]":
    text = f"abi <abi/3.0>,\n{_TEXT}" if os.path.exists(_ABI) else _TEXT
    program = shutil.which(_PARSER, path=_PLACES)
    if program is None:
        return subprocess.CompletedProcess([], 1, "", f"{_PARSER} is not installed")
    argv = [program, "--replace", "--skip-cache", "--quiet"]
    return subprocess.run(argv, input=text, capture_output=True, text=True)
