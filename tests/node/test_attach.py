"""Being a container's client: from its first byte to its exit code."""

from tests.harness import IMAGE, PYTHON, Node
from tests.terminal import terminal


def test_run_with_a_terminal_shows_the_first_byte_and_the_last(clean: Node) -> None:
    for k in range(5):
        argv = [
            PYTHON,
            "-m",
            "cribus.cli",
            "run",
            "-t",
            IMAGE,
            "sh",
            "-c",
            f"echo first {k}; tty; seq 1 2000; exit {k}",
        ]
        with terminal(argv, env=clean.env) as shown:
            assert shown.exited() == k
            lines = shown.seen.decode().split()
            assert lines == ["first", str(k), "/dev/pts/0", *map(str, range(1, 2001))]
