import shutil
import subprocess

import pytest
from cribus.cli import completion
from cribus.cli.__main__ import COMMANDS


def test_options() -> None:
    assert completion.options("ps") == ["--all", "--help", "--json", "--quiet"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_it(shell: str) -> None:
    text = {"bash": completion.bash, "zsh": completion.zsh, "fish": completion.fish}[shell]()
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("cribus do", "doctor down"), ("cribus run --de", "--detach"), ("cribus completion f", "fish")],
)
def test_bash_completes(line: str, expected: str) -> None:
    bash = shutil.which("bash")
    assert bash
    words = " ".join(f"'{word}'" for word in line.split())
    script = (
        f"{completion.bash()}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        'cribus() { :; }\n_cribus\nprintf "%s\\n" "${COMPREPLY[@]}" | sort | xargs'
    )
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=10)
    assert done.stdout.strip() == expected, done.stderr
