"""`cribus-oci`: runc's command line over the executor's own code, without a bus.

For containerd, podman or a shell: each call is a process that starts cold, so this loads next to nothing.
"""

import sys

from cribus.errors import CribusError, InvalidArgument
from cribus.executor.runc_cli import log, options
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line

ROOT = "/run/cribus-oci"
_USAGE = f"""usage: cribus-oci [--root DIR] [--log FILE] [--log-format json|text] [--systemd-cgroup] COMMAND

Containers by runc's command line. Commands: {", ".join(options.COMMANDS)}
"""


def main() -> int:
    """The exit code; a failure is told on standard error and in the log."""
    general: dict[str, str] = {}
    try:
        line = options.parse(sys.argv[1:])
        general = line.general
        return _run(line)
    except (CribusError, OSError) as error:
        text = error.message if isinstance(error, CribusError) else _words(error)
        log.tell(general, "error", text)
        sys.stderr.write(f"{text}\n")
        return 1


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def _run(line: Line) -> int:
    root = line.general.get("root") or ROOT
    if line.general.get("version"):
        sys.stdout.write("cribus-oci version 0.1.0\nspec: 1.3.0\n")
        return 0
    if line.command not in options.COMMANDS:
        if line.command not in ("help", "--help", "-h"):
            raise InvalidArgument(f"there is no command {line.command!r}; commands are {', '.join(options.COMMANDS)}")
        sys.stdout.write(_USAGE)
        return 0
    if line.command in ("list", "spec", "features"):
        return _general(root, line)
    if not line.args:
        raise InvalidArgument(f"{line.command} wants a container id")
    return _one(Box(root, line.args[0]), line)


def _general(root: str, line: Line) -> int:
    if line.command == "features":
        from cribus.executor.runc_cli import features

        return features.features()
    from cribus.executor.runc_cli import show

    return show.containers(root, line) if line.command == "list" else show.spec(line)


def _one(box: Box, line: Line) -> int:
    """A command about one container; what it does not need is not loaded."""
    command = line.command
    if command == "create":
        from cribus.executor.runc_cli import create

        return create.create(box, line)
    if command == "start":
        from cribus.executor.runc_cli import start

        return start.start(box)
    if command == "run":
        from cribus.executor.runc_cli import run

        return run.run(box, line)
    if command == "exec":
        from cribus.executor.runc_cli import inside

        return inside.run(box, line)
    if command in ("state", "events"):
        from cribus.executor.runc_cli import show

        return show.state(box) if command == "state" else show.events(box, line)
    return _control(box, line)


def _control(box: Box, line: Line) -> int:
    from cribus.executor.runc_cli import control

    if line.command == "kill":
        return control.kill(box, line.args[1:], everyone=bool(line.given.get("all")))
    if line.command == "delete":
        return control.delete(box, force=bool(line.given.get("force")))
    if line.command in ("pause", "resume"):
        return control.pause(box) if line.command == "pause" else control.resume(box)
    return control.update(box, line) if line.command == "update" else control.ps(box, line)


if __name__ == "__main__":
    sys.exit(main())
