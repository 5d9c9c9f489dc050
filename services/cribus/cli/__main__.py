"""The command line. One file a command; only the one that is asked for is imported."""

import argparse
import importlib
import os
import sys

# name → (group, what it does); the module is cribus.cli.<name>
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("node", "start the node's services and wait until all of them answer"),
    "down": ("node", "stop the services; pods go on running unless --pods is given"),
    "status": ("node", "show the services, and how many pods and containers there are"),
    "upgrade": ("node", "replace every process by its new version, one after another, while pods run on"),
    "doctor": ("node", "say what this host has, what it lacks, and what to do about it"),
    "chaos": ("node", "kill the node's processes at random while pods run, and prove that nobody noticed"),
    "run": ("pods", "run a command in a new pod and end with its exit code"),
    "ps": ("pods", "list containers"),
    "pods": ("pods", "list pods"),
    "rm": ("pods", "stop and remove pods"),
    "logs": ("pods", "print a container's output"),
    "exec": ("pods", "run a command in a running container"),
    "pull": ("images", "fetch an image from its registry"),
    "images": ("images", "list images"),
    "rmi": ("images", "remove images"),
    "load": ("images", "import images from an OCI layout or a docker archive"),
    "save": ("images", "export images to a file"),
    "why": ("pods", "say why a pod is as it is: who asked what, what failed, who killed whom, what hangs"),
    "events": ("more", "print the node's events, one JSON object a line"),
    "credentials": ("more", "print the node's users for the servers of a NATS cluster, as JSON"),
    "completion": ("more", "print a shell's completion script"),
}


def usage() -> str:
    parts = ["usage: cribus COMMAND [ARGUMENTS]   (cribus COMMAND --help says more)\n"]
    for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
        parts.append(f"{group}:")
        parts += [f"  {name:<11} {what}" for name, (its, what) in COMMANDS.items() if its == group]
    return "\n".join(parts)


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    module = importlib.import_module(f"cribus.cli.{name}")
    made = argparse.ArgumentParser(
        prog=f"cribus {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.arguments(made)
    made.set_defaults(command=module.command, failed=getattr(module, "FAILED", 1))
    return made


def run(argv: list[str]) -> int:
    """Run one command line; the exit code."""
    from cribus.cli.output.table import complain
    from cribus.errors import CribusError

    given = parser(argv[0]).parse_args(argv[1:])
    try:
        code: int = given.command(given)
    except CribusError as error:
        complain(error.message)
        return int(given.failed)
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{error.filename or given.command.__module__.rpartition('.')[2]}: {error.strerror or error}")
        return int(given.failed)
    return code


def main() -> int:
    argv = sys.argv[1:]
    if argv and argv[0] in COMMANDS:
        try:
            return run(argv)
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:  # `cribus events | head`: whoever read has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
            return 141  # as a shell reports SIGPIPE
    wanted = argv[0] if argv else ""
    if wanted in ("--version", "version"):
        from importlib.metadata import version

        print(f"cribus {version('cribus')}")
        return 0
    asked = wanted in ("-h", "--help", "help")
    if wanted and not asked:
        print(f"cribus: there is no command {wanted!r}\n", file=sys.stderr)
    print(usage(), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
