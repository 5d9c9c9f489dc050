"""state, list, events and spec."""

import json
import os
import sys
from typing import Any

from cribus import errors
from cribus.executor.runc_cli.box import Box, every
from cribus.executor.runc_cli.options import Line
from cribus.linux import files

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MOUNTS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
)
_MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/scsi"]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def state(box: Box) -> int:
    return _print(box.state())


def _print(document: object) -> int:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def containers(root: str, line: Line) -> int:
    """All of this root: a table, JSON, or the ids alone."""
    found = [box.state() for box in every(root)]
    if line.given.get("quiet"):
        sys.stdout.write("".join(f"{one['id']}\n" for one in found))
    elif line.given.get("format", "table") == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        rows = [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
        rows += [[str(one[key]) for key in ("id", "pid", "status", "bundle", "created", "owner")] for one in found]
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        for row in rows:
            sys.stdout.write(
                "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n"
            )
    return 0


def events(box: Box, line: Line) -> int:
    """One reading of the cgroup, in runc's shape. Raises Unimplemented for the endless form."""
    if not line.given.get("stats"):
        raise errors.Unimplemented("only `events --stats` is supported: one reading and no stream of them")
    from cribus.cgroups import stats

    read = stats.read(box.tree(), box.known()["cgroup"])
    memory = {"usage": read.memory.usage, "limit": read.memory.limit}
    data = {
        "cpu": {"usage": {"total": read.cpu_ns}},
        "memory": {"usage": memory, "raw": {"working_set": read.memory.working_set, "rss": read.memory.rss}},
        "pids": {"current": read.pids},
    }
    sys.stdout.write(json.dumps({"type": "stats", "id": box.id, "data": data}) + "\n")
    return 0


def spec(line: Line) -> int:
    """A document to begin with. Raises AlreadyExists rather than replace one."""
    path = f"{line.given.get('bundle') or '.'}/config.json"
    if os.path.exists(path):
        raise errors.AlreadyExists(f"{path} exists; move it away to make a new one")
    files.write_atomic(path, json.dumps(_document(), indent=2).encode() + b"\n")
    return 0


def _document() -> dict[str, Any]:
    sets = dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES)
    kinds = ("destination", "type", "source", "options")
    return {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": sets,
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "cribus",
        "mounts": [dict(zip(kinds, one, strict=True)) for one in _MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READONLY,
        },
    }
