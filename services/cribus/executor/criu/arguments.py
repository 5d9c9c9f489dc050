"""criu's command lines. Pure. Source: criu(8).

criu runs inside the pod's network, IPC and UTS namespaces, so that they are its own and it leaves them alone:
what it writes down are processes, their mount namespace and their PID namespace. Mounts that come from outside
the container are named and not written down; their names are their places.
"""

from typing import Any, NamedTuple

from cribus.executor.plan import mounts

_GHOSTS = 256 << 20  # bytes of a file that is open but deleted: it is part of the checkpoint
COMMON = (
    "--manage-cgroups=ignore",  # the container's cgroup is ours to make
    "--tcp-close",  # connections do not survive; neither do the processes wait for them
    "--file-locks",
)


class Dump(NamedTuple):
    """What is written down: the tree below `pid`, frozen by the file in `freezer`, into `folder`."""

    program: str
    pid: int
    folder: str
    freezer: str


def dump(what: Dump, external: list[str]) -> list[str]:
    """Processes go on as they were: frozen, since the freezer was closed when criu came."""
    made = [what.program, "dump", "--tree", str(what.pid), "--images-dir", f"{what.folder}/checkpoint"]
    made += ["--work-dir", what.folder, "--log-file", "dump.log", "-v4", "--leave-running"]
    made += ["--freeze-cgroup", what.freezer, "--ghost-limit", str(_GHOSTS), "--skip-in-flight", *COMMON]
    for place in external:
        made += ["--external", f"mnt[{place}]:{place}"]
    return made


class Restore(NamedTuple):
    """What is brought back: images, as the processes of a root filesystem that is mounted at `root`."""

    program: str
    images: str
    work: str  # folder of its log
    root: str
    pidfile: str


def restore(what: Restore, external: dict[str, str], streams: dict[int, str]) -> list[str]:
    """The processes are left stopped, and criu's parent is their first one's. `external`: what is mounted at each
    place; `streams`: number of a descriptor → the pipe in the images that it takes the place of."""
    made = [what.program, "restore", "--images-dir", what.images, "--work-dir", what.work]
    made += ["--log-file", "restore.log", "-v4", "--root", what.root, "--pidfile", what.pidfile]
    made += ["--restore-detached", "--restore-sibling", "--leave-stopped", *COMMON]
    for place, source in external.items():
        made += ["--external", f"mnt[{place}]:{source}"]
    for number, pipe in streams.items():
        made += ["--inherit-fd", f"fd[{number}]:{pipe}"]
    return made


def external(mountinfo: str, spec: dict[str, Any]) -> list[str]:
    """The places of mounts that come from outside: binds of the host's paths with all below them, and parts of
    file systems that the container has not as a whole. Source: proc_pid_mountinfo(5)."""
    seen = [line.split(" ")[2:5] for line in mountinfo.splitlines()]
    whole = {device for device, root, _ in seen if root == "/"}
    given = {one["destination"].rstrip("/"): mounts.is_bind(one) for one in spec.get("mounts") or []}
    return [
        place
        for device, _, place in seen
        if place != "/" and (device not in whole or given.get(_nearest(place, given), False))
    ]


def _nearest(place: str, given: dict[str, bool]) -> str:
    """The mount of the spec that a place is in."""
    while place and place not in given:
        place = place.rpartition("/")[0]
    return place
