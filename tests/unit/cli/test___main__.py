"""The command line as a whole: every command is there, says what it does, and fails in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cribus.cli import __main__ as cli

NODE_LESS = {"CRIBUS_CONFIG": "/nonexistent.toml"}


def invoke(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cribus.cli", *argv], capture_output=True, text=True, timeout=30, env=NODE_LESS
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    text = cli.parser(name).format_help()
    assert text.startswith(f"usage: cribus {name}")
    assert len(text.split("\n\n")[1]) > 10


def test_every_file_is_a_command_or_serves_several() -> None:
    folder = Path(cli.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    assert files - {"readiness", "session", "target", "terminal"} == set(cli.COMMANDS)


def test_usage_lists_everything_once() -> None:
    words = [line.split()[0] for line in cli.usage().splitlines() if line.startswith("  ")]
    assert sorted(words) == sorted(cli.COMMANDS)


def test_without_a_command() -> None:
    done = invoke()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: cribus" in done.stderr


def test_unknown_command_and_option() -> None:
    done = invoke("nope")
    assert done.returncode == 2
    assert "no command 'nope'" in done.stderr
    assert invoke("ps", "--nope").returncode == 2


def test_an_error_is_one_sentence() -> None:
    done = invoke("ps")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cribus: settings file /nonexistent.toml does not exist")
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_nothing_of_a_command() -> None:
    script = (
        "import sys; sys.argv = ['cribus', '--help']\n"
        "from cribus.cli.__main__ import main\nmain()\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('asyncio', 'nats', 'rich', 'msgspec')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_a_progress_bar_loads_rich() -> None:
    names = ", ".join(f"cribus.cli.{name}" for name in cli.COMMANDS)
    script = f"import sys, {names}\nprint('rich' in sys.modules, 'grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "False False"


def test_a_reader_that_has_had_enough() -> None:
    script = (
        "import sys; sys.argv = ['cribus', 'completion', 'bash']\n"
        "from cribus.cli import __main__ as cli, completion\n"
        "completion.bash = lambda: 'x' * (1 << 20)\n"
        "sys.exit(cli.main())"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, timeout=30)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
