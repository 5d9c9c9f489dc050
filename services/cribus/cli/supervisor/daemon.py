"""What `cribus up` leaves behind, and what a systemd unit starts: a guard, and supervisord below it.

    python -m cribus.cli.supervisor.daemon CONF            the guard; ends at once where there is one
    python -m cribus.cli.supervisor.daemon --stay CONF     the guard of a service manager; waits for its place
    python -m cribus.cli.supervisor.daemon --inner CONF    supervisord, as the guard starts it

The guard starts supervisord and starts it again when it is killed; when the guard is killed,
supervisord goes on and the next guard adopts it. A supervisord that ends by itself takes its pid
file along, and the guard ends too.

The guard also sees when the run directory is emptied under the node: then nobody finds supervisord and its
services any more, nor they what they had there. It writes down again what supervisord needs, and starts it
anew; what the services do when they start does the rest.

supervisord's own loop notices a death up to a second late, restarts up to a second after that, and
waits one second more when the service was younger than a second. `PromptPoller` takes these away.
"""

import contextlib
import fcntl
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from cribus import hung, pulse
from cribus.cli.supervisor import watch
from cribus.linux import process

LOCK = "guard.lock"
PROMPT_RETRIES = 5  # restarts without a pause; from then on it may be a service that cannot start
FIRST_PAUSE = 0.1  # seconds from one start to the next, doubled from death to death: it may also just be killed often
_ENDING = (signal.SIGTERM, signal.SIGINT)
_LOST = 2  # looks in a row after which files that were there are lost
_NEVER = 15  # the same of files that never were there: it may just be starting
LONGEST_PAUSE = 5.0  # seconds between two tries to start a service that cannot start


class PromptPoller:
    """supervisord's poller, woken by signals, and impatient after each. `look` is called after each poll."""

    def __init__(self, inner: Any, supervisor: Any) -> None:
        self._inner = inner
        self._supervisor = supervisor
        self.look: Callable[[], None] | None = None
        self._again = True  # the services are first started after the first poll
        self._woken, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """As supervisor.poller has it. A signal ends it; the one after that does not wait.

        A child is reaped after one poll and started again after the next.
        """
        self._inner.register_readable(self._woken)
        readable, writable = self._inner.poll(0 if self._again else timeout)
        self._again = self._woken in readable
        if self._again:
            os.read(self._woken, 4096)
            readable.remove(self._woken)
        for group in self._supervisor.process_groups.values():
            for one in group.processes.values():
                one.delay = retry_at(one.backoff, one.delay, one.laststart)
        if self.look is not None:
            self.look()
        return readable, writable


def retry_at(backoff: int, planned: float, started: float) -> float:
    """When a service that died young is started again; times in seconds. `backoff` counts such deaths in a row."""
    if backoff == 0:
        return planned
    late = backoff - PROMPT_RETRIES - 1
    if late < 0:
        return 0.0
    return min(planned, started + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(late, 10)))


class Starts:
    """supervisord RPC namespace `cribus`: how often each service was started. Each start is a generation of its own,
    and under watch. `bus` is the address of our own nats-server, if there is one, `credentials` a file by
    which it can be asked, and `stuck` the subject on which is said that it stores nothing more."""

    def __init__(self, supervisor: Any, bus: str = "", credentials: str = "", stuck: str = "") -> None:
        from supervisor import events

        self._counts: dict[str, int] = {}
        self._own = pulse.begin(_run(supervisor.options.configfile), "supervisord")
        asked = watch.Bus(bus, credentials, stuck) if bus else None
        self._watchman = watch.Watchman(supervisor, self._own.page, asked)
        supervisor.options.poller.look = self._look
        events.subscribe(events.ProcessStateStartingEvent, self._start)

    def _look(self) -> None:
        self._own.check()
        self._watchman.look()

    def _start(self, event: Any) -> None:
        self._own.check()
        self._watchman.begin(event.process)
        name = event.process.config.name
        self._counts[name] = self._counts.get(name, 0) + 1

    def starts(self) -> dict[str, int]:
        return dict(self._counts)


def _run(conf: str) -> str:
    """The run directory of the node with this configuration."""
    return os.path.dirname(os.path.dirname(os.path.abspath(conf)))


def mortal_fork() -> int:
    """As os.fork, with a child that SIGTERM and SIGINT end, and the death of its parent. With supervisord's own
    handlers, which a child has until its exec, it would take one and forget it, and be killed 10 s later.
    Bound only by its program (setpriv), it would outlive a supervisord that was killed before that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            process.pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(128 + signal.SIGKILL)
            for number in _ENDING:
                signal.signal(number, signal.SIG_DFL)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def supervise(conf: str) -> None:
    """Be supervisord until told to end."""
    from supervisor.medusa import asyncore_25
    from supervisor.options import ServerOptions
    from supervisor.supervisord import Supervisor

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    options = ServerOptions()
    options.realize(["-c", conf, "-n"])
    options.first, options.test = True, False
    supervisor = Supervisor(options)
    options.fork = mortal_fork
    options.poller = PromptPoller(options.poller, supervisor)
    try:
        supervisor.main()
    except asyncore_25.ExitNow:
        return


def lock(folder: str, *, wait: bool = False) -> int | None:
    """The guard's lock, as a descriptor to be kept; None when another guard has it."""
    descriptor = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def guarded(folder: str) -> bool:
    """Whether somebody holds the guard's lock. Looks only (proc_locks(5)): to try it would keep a guard away."""
    try:
        inode = os.stat(f"{folder}/{LOCK}").st_ino
    except FileNotFoundError:
        return False
    with open("/proc/locks") as file:
        return any(line.split()[1] == "FLOCK" and line.split()[5].endswith(f":{inode}") for line in file)


def running(folder: str) -> int:
    """The pid of this folder's supervisord, 0 when there is none; also of one whose pid file was deleted."""
    try:
        with open(f"{folder}/supervisord.pid") as file:
            known = [int(file.read() or 0)]
    except (FileNotFoundError, ValueError):
        known = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return next((pid for pid in known if _is_supervisord(pid, f"{folder}/supervisord.conf")), 0)


def _is_supervisord(pid: int, conf: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[-3:-1] == [b"--inner", os.fsencode(conf)]
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(pid: int, seconds: float | None = None) -> bool:
    """Wait until that process has ended; whether it has. It need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return _ended(descriptor, seconds)
    finally:
        os.close(descriptor)


def _ended(pidfd: int, seconds: float | None) -> bool:
    """Whether that process ends within so long."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


class _Guard:
    def __init__(self, conf: str, held: int) -> None:
        self._conf = conf
        self._folder = os.path.dirname(conf)
        self._held = held  # the lock
        with open(conf) as file:
            self._text = file.read()  # as it was when it was last seen
        self._pid = 0
        self._told = False
        page = pulse.Page(_run(conf))
        page.ensure()
        self._own = pulse.Own(page, "guard", page.begin("guard"))
        self._own.beat()

    def stop(self, *_: object) -> None:
        self._told = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def run(self) -> int:
        """Until supervisord ends by itself; the exit code."""
        code = 0
        while not self._told:
            code = self._once()
            if code >= 0 and not os.path.exists(f"{self._folder}/supervisord.pid"):
                break
        return max(code, 0)

    def _once(self) -> int:
        """Start or adopt supervisord and wait for its end: its exit code, negative when a signal killed it.

        0 when that is not known, because it was another guard's child.
        """
        self._live()
        self._pid = running(self._folder)
        adopted = self._pid != 0
        if not adopted:
            for stale in ("supervisord.pid", "control.sock"):  # supervisord waits 0.3 s before it removes a socket
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._folder}/{stale}")
            argv = [sys.executable, "-m", "cribus.cli.supervisor.daemon", "--inner", self._conf]
            generation = {pulse.GENERATION: str(self._own.page.begin("supervisord"))}
            self._pid = os.posix_spawn(sys.executable, argv, {**os.environ, **generation})
        lost = self._watch(self._pid, complete=adopted)
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            return -signal.SIGKILL if lost else 0
        finally:
            self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def _watch(self, pid: int, *, complete: bool) -> bool:
        """Until supervisord has ended; one that gives no sign of life is killed, and its services with it. So is
        one whose files are lost, if they have been there (`complete`): whether it was that."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            watch, missing = hung.Watch(pid), 0
            while not _ended(pidfd, pulse.EVERY):
                self._live()
                why = watch.look(self._own.page.beat("supervisord"))
                if why:
                    print(f"supervisord ({pid}) hangs and is replaced: {why}", file=sys.stderr, flush=True)
                    self._own.page.hung("supervisord", why)
                    hung.kill(pidfd)
                complete, missing = (True, 0) if self._found() else (complete, missing + 1)
                if not self._told and missing >= (_LOST if complete else _NEVER):
                    print(f"{self._folder} was emptied: supervisord starts anew", file=sys.stderr, flush=True)
                    self._write_again()
                    hung.kill(pidfd)
                    return _ended(pidfd, None)
            return False
        finally:
            os.close(pidfd)

    def _live(self) -> None:
        """Give a sign of life. Ends this process where another guard has come: it is the one from now on."""
        self._own.page.refresh()
        if not self._own.current():
            raise SystemExit(0)
        self._own.beat()

    def _found(self) -> bool:
        """Whether others find what they need to find us and supervisord."""
        try:
            with open(self._conf) as file:
                self._text = file.read() or self._text
        except FileNotFoundError:
            return False
        return self._locked() and all(
            os.path.exists(f"{self._folder}/{name}") for name in ("supervisord.pid", "control.sock")
        )

    def _locked(self) -> bool:
        """Whether the lock that we have is the one that others see."""
        try:
            return os.path.samestat(os.stat(f"{self._folder}/{LOCK}"), os.fstat(self._held))
        except FileNotFoundError:
            return False

    def _write_again(self) -> None:
        """Ends this process where another guard has come meanwhile: it is the one from now on, and does the rest."""
        os.makedirs(self._folder, 0o700, exist_ok=True)
        if not self._locked():
            fresh = lock(self._folder)
            if fresh is None:
                raise SystemExit(0)
            os.close(self._held)
            self._held = fresh
        if not os.path.exists(self._conf):
            with open(f"{self._conf}.new", "w") as file:
                file.write(self._text)
            os.rename(f"{self._conf}.new", self._conf)


def stand_by(folder: str) -> int | None:
    """Wait until the guard of now is gone: its lock, or None when the node was taken down with it.

    Told to end meanwhile, the process ends the node, as the guard would: whoever stops the unit means that.
    """

    def stop(*_: object) -> None:
        pid = running(folder)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            wait_for(pid)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    held = lock(folder, wait=True)
    if os.path.exists(f"{folder}/supervisord.pid"):
        return held
    return None


def main(argv: list[str]) -> int:
    if argv[0] == "--inner":
        supervise(argv[1])
        return 0
    conf = os.path.abspath(argv[-1])
    folder = os.path.dirname(conf)
    held = lock(folder)
    if held is None and argv[0] == "--stay":
        held = stand_by(folder)
    if held is None:
        return 0
    guard = _Guard(conf, held)
    signal.signal(signal.SIGTERM, guard.stop)
    signal.signal(signal.SIGINT, guard.stop)
    return guard.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
