"""Print a completion script. bash: source <(cribus completion bash); zsh and fish alike."""

import argparse

from cribus.cli.__main__ import COMMANDS, parser

_BASH = """_cribus() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -F _cribus cribus
"""
# What a command's words may be beyond its options: another command's ids.
_IDS = {"rm": "pods -q", "why": "pods -q", "logs": "ps -aq", "exec": "ps -q", "rmi": "images -q"}


def arguments(given: argparse.ArgumentParser) -> None:
    given.add_argument("shell", choices=("bash", "zsh", "fish"))


def command(given: argparse.Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[given.shell](), end="")
    return 0


def options(name: str) -> list[str]:
    """The long options of one command."""
    return sorted({text for action in parser(name)._actions for text in action.option_strings if text[:2] == "--"})


def bash() -> str:
    cases = []
    for name in COMMANDS:
        ids = f" $(cribus {_IDS[name]} 2>/dev/null)" if name in _IDS else ""
        words = "bash zsh fish" if name == "completion" else " ".join(options(name))
        cases.append(f'            {name}) words="{words}{ids}" ;;')
    return _BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


def zsh() -> str:
    return f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    lines = ["complete -c cribus -f"]
    for name, (_, what) in COMMANDS.items():
        quoted = what.replace("'", "\\'")
        lines.append(f"complete -c cribus -n __fish_use_subcommand -a {name} -d '{quoted}'")
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c cribus {seen} -l {option[2:]}" for option in options(name)]
        if name in _IDS:
            lines.append(f"complete -c cribus {seen} -a '(cribus {_IDS[name]} 2>/dev/null)'")
    lines.append("complete -c cribus -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'")
    return "\n".join(lines) + "\n"
