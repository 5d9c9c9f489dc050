"""Everything that a client can ask of a pod, each with what must be there before."""

import contextlib
import fcntl
import json
import os
import shutil
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cribus.api import events, executor
from cribus.errors import Aborted, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from cribus.gateway.cri import api_pb2 as pb
from cribus.manager.nri import messages as m

from tests.chaos.lives import DEAF, FLOOD, GATED, PATIENCE, SLOW, WRITER, Life
from tests.chaos.world import World
from tests.harness import until
from tests.nri import Plugin

_HEARD = 30  # lines of an attached container
_ID = "0c1" + "0" * 61
_SPEC: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "hostname": "oci",
    "root": {"path": "root"},
    "process": {"args": ["/bin/busybox", "sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "linux": {
        "namespaces": [{"type": one} for one in ("pid", "mount", "uts", "ipc", "network", "cgroup", "time")],
        "timeOffsets": {"boottime": {"secs": 100}},
        "sysctl": {"net.core.somaxconn": "1000"},
        "cgroupsPath": f"/{_ID}",
    },
    "hooks": {"createRuntime": [{"path": "/bin/true"}]},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/bin", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro", "rprivate"]},
    ],
}


class Operation(NamedTuple):
    """`prepare` makes the life at stake; `act` is repeated from its start only by what it asks."""

    prepare: Callable[[World], Life]
    act: Callable[[World, Life], None]


def _nothing(world: World) -> Life:
    return world.life()


def _pod(world: World) -> Life:
    life = world.life()
    life.run()
    return life


def _created(world: World) -> Life:
    life = _pod(world)
    life.create()
    return life


def _running(script: str = WRITER) -> Callable[[World], Life]:
    return lambda world: world.life(script=script).up()


def _special(world: World) -> Life:
    """With what the usual pod does not have: a shared PID namespace, a terminal, settings of its own."""
    life = world.life()
    options = pb.NamespaceOption(network=pb.POD, pid=pb.POD, ipc=pb.POD)
    life.config.linux.security_context.namespace_options.CopyFrom(options)
    life.config.linux.sysctls["net.core.somaxconn"] = "1000"
    life.config.linux.security_context.privileged = True
    life.main.linux.security_context.namespace_options.CopyFrom(options)
    life.main.tty = True
    life.main.linux.security_context.privileged = True
    both = pb.Mount(host_path=str(world.shared), container_path="/shared", propagation=pb.PROPAGATION_BIDIRECTIONAL)
    life.main.mounts.append(both)
    return life


def _special_created(world: World) -> Life:
    life = _special(world)
    life.run()
    life.create()
    return life


def _start(world: World, life: Life) -> None:
    life.start()


def _exec(world: World, life: Life) -> None:
    """By crictl and a stream. A process that may have run is not run again by anybody but its client."""
    end = time.monotonic() + PATIENCE
    while True:
        argv = world.node.argv("exec", life.container, "sh", "-c", "echo $HOSTNAME")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        # A gateway that is killed closes the connection, which crictl takes for an end without an error.
        if done.returncode == 0 and done.stdout:
            assert done.stdout.strip() == life.name
            return
        assert time.monotonic() < end, done.stderr


def _exec_resumed(world: World, life: Life) -> None:
    """By crictl, whose session goes on when the pod's shim is killed."""
    end = time.monotonic() + PATIENCE
    while True:
        script = "echo begun; while [ ! -e /gate/open ]; do usleep 5000; done; echo $HOSTNAME"
        argv = world.node.argv("exec", life.container, "sh", "-c", script)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as one:
            assert one.stdout is not None
            begun = one.stdout.readline()
            world.kill(("shim",), life)
            (life.gate / "open").touch()
            said = one.stdout.read()
        (life.gate / "open").unlink()
        if (begun, one.returncode) == (b"begun\n", 0) and not (life.orphaned and not said):
            assert said.decode().strip() == life.name
            return
        assert time.monotonic() < end, (begun, said)


def _orphan(world: World, life: Life) -> None:
    """The keeper is killed: another stands in for it, and everything goes on."""
    keeper = world.node.keeper(life.container)
    world.kill(("keeper",), life)
    until(lambda: not Path(f"/proc/{keeper}").exists(), 10, "the keeper is gone")
    life.exec()


def _exec_terminal(world: World, life: Life) -> None:
    """The same, on a terminal."""
    end = time.monotonic() + PATIENCE
    while True:
        ours, theirs = os.openpty()
        argv = world.node.argv("exec", "-it", life.container, "sh", "-c", "tty; exit 0")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        done = subprocess.run(argv, timeout=30, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = _read_out(ours)
        os.close(ours)
        if done.returncode == 0 and b"/dev/pts/" in said:  # as in `_exec`: an end without an error is none yet
            return
        assert time.monotonic() < end, said


def _read_out(terminal: int) -> bytes:
    """What was written to a terminal whose other side is closed now."""
    said = b""
    with contextlib.suppress(OSError):  # EIO: there is no more
        while part := os.read(terminal, 65536):
            said += part
    return said


def _attach(world: World, life: Life) -> None:
    """By crictl, until it has heard some lines, one after the other."""
    end = time.monotonic() + PATIENCE
    while True:
        argv = world.node.argv("attach", life.container)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as one:
            assert one.stdout is not None
            heard = [one.stdout.readline() for _ in range(_HEARD)]
            one.kill()
        if heard[-1].endswith(b"\n"):
            first = int(heard[1].split()[1])  # of the one before only the end may have been heard
            assert life.orphaned or heard[1:] == [b"line %d\n" % (first + k) for k in range(_HEARD - 1)], heard
            return
        assert time.monotonic() < end, heard


def _flood(world: World, life: Life) -> None:
    """It writes as fast as it can, for a while."""
    (life.gate / "open").touch()
    until(lambda: b"line 30000\n" in life.log.read_bytes()[-200_000:], PATIENCE, "all of the flood is in the log")


def _idle(world: World, life: Life) -> None:
    """Nothing is asked."""


def _pull(world: World, life: Life) -> None:
    """And away with it. A pull that is made again tells again; a removal has happened once."""
    spec = pb.ImageSpec(image=world.image)
    found = world.client.ask("PullImage", pb.PullImageRequest(image=spec)).image_ref
    removals = world.watch.count(found, events.IMAGE_REMOVED, 0, 0) + 1
    world.client.ask("RemoveImage", pb.RemoveImageRequest(image=spec))
    assert not world.client.ask("ImageStatus", pb.ImageStatusRequest(image=spec)).HasField("image")
    assert world.watch.count(found, events.IMAGE_REMOVED, removals, 10) == removals
    assert world.watch.count(found, events.IMAGE_PULLED, removals, 10) >= removals


def _oci(world: World, life: Life) -> None:
    """A runtime-spec that CRI has no words for: a root that is a directory, a name and settings of its own."""
    folder = world.node.run_dir / "containers" / _ID
    end = time.monotonic() + PATIENCE
    while not _lived(world, folder):
        assert time.monotonic() < end


def _lived(world: World, folder: Path) -> bool:
    """From its creation to its deletion. False when it must be begun anew: a manager that was just starting
    took it for a leftover, or its first process was killed before it was started."""
    (folder / "root" / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", folder / "root" / "bin" / "busybox")
    device = f"{world.node.tag}v"
    (folder / "config.json").write_text(
        json.dumps({**_SPEC, "linux": {**_SPEC["linux"], "netDevices": {device: {"name": "vendor0"}}}})
    )

    def create() -> None:
        _offered(device)  # with each network namespace that goes, goes one device
        world.watch.call(executor.CREATE, executor.Create(container=_ID, pod=""))

    try:
        _repeated(create)
        started = _repeated(lambda: world.watch.call(executor.START, executor.Named(container=_ID)), abortable=True)
    except NotFound:
        return False
    _repeated(lambda: world.watch.call(executor.DELETE, executor.Named(container=_ID)))
    return started


def _repeated(call: Callable[[], object], *, abortable: bool = False) -> bool:
    """Until it succeeds; False when `abortable` and ABORTED. Raises NotFound."""
    end = time.monotonic() + PATIENCE
    again = threading.Event()
    while True:
        try:
            call()
            return True
        except (Unavailable, Aborted, DeadlineExceeded, InvalidArgument) as error:
            if isinstance(error, Aborted) and abortable:
                return False
            assert time.monotonic() < end
        again.wait(0.01)


IDLE = Operation(_running(), _idle)


def _nri(world: World, life: Life) -> None:
    """With a plugin that changes its limits, and evicts it. It goes with the manager, and comes again."""
    end = time.monotonic() + PATIENCE
    again = threading.Event()
    while life.code < 0:
        with contextlib.suppress(OSError), contextlib.closing(Plugin(world.node.nri, "10-chaos")) as plugin:
            plugin.register()
            if not life.started:
                for one in (life.run, life.create, life.start):
                    one()
            if life.status().state == pb.CONTAINER_EXITED:
                life.code = 137
                return
            resources = m.Resources(pids=m.Pids(limit=50))
            update = m.ContainerUpdate(container_id=life.container, linux=m.LinuxContainerUpdate(resources=resources))
            if plugin.update(update) == []:  # else it has just ended
                plugin.update(evict=life.container)
        assert time.monotonic() < end, "not evicted"
        again.wait(0.01)


def _offered(device: str) -> None:
    """A network device of the host. Content while the last one is still going."""
    words = ["ip", "link", "add", device, "type", "veth", "peer", "name", f"{device}p"]
    subprocess.run(words, stderr=subprocess.DEVNULL, check=False)


def _asked(name: str, **more: Any) -> Callable[[World, Life], None]:
    return lambda world, life: getattr(life, name)(**more)


OPERATIONS: dict[str, Operation] = {
    "run": Operation(_nothing, _asked("run")),
    "create": Operation(_pod, _asked("create")),
    "start": Operation(_created, _start),
    "run-special": Operation(_special, _asked("run")),
    "start-special": Operation(_special_created, _start),
    "exec-sync": Operation(_running(), _asked("exec")),
    "exec": Operation(_running(), _exec),
    "exec-resumed": Operation(_running(), _exec_resumed),
    "orphan": Operation(_running(), _orphan),
    "exec-terminal": Operation(_running(), _exec_terminal),
    "attach": Operation(_running(), _attach),
    "flood": Operation(_running(FLOOD), _flood),
    "reopen-log": Operation(_running(), _asked("reopen")),
    "exit": Operation(_running(GATED), _asked("exit")),
    "stop": Operation(_running(), _asked("stop")),
    "stop-slow": Operation(_running(SLOW), _asked("stop", grace=20)),
    "stop-deaf": Operation(_running(DEAF), _asked("stop", grace=1)),
    "kill": Operation(_running(), _asked("stop", grace=0)),
    "remove-container": Operation(_running(), _asked("remove_container")),
    "stop-pod": Operation(_running(), _asked("stop_pod")),
    "remove-pod": Operation(_running(), _asked("remove_pod")),
    "nri": Operation(_nothing, _nri),
    "oci": Operation(_nothing, _oci),
    "pull": Operation(_nothing, _pull),
}
