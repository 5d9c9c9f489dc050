"""What slim processes have loaded: they live once a pod or container, and each module costs each of them."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SERVICES = Path(__file__).resolve().parents[2] / "services"
PACKAGE = SERVICES / "cribus"

HEAVY = {"asyncio", "nats", "msgspec", "logging", "dataclasses", "typing", "re", "json", "grpc", "ssl", "subprocess"}
# Of the standard library, beyond what a bare interpreter has; names with an underscore are parts of these.
AFTER_FORK = {
    "array",
    "atexit",
    "ctypes",
    "errno",
    "fcntl",
    "gc",
    "mmap",
    "resource",
    "select",
    "selectors",
    "signal",
    "socket",
    "struct",
    "termios",
    "time",
}
# What `selectors`, `socket`, `ctypes` and `signal` bring along.
BROUGHT = {
    "collections",
    "contextlib",
    "enum",
    "functools",
    "itertools",
    "keyword",
    "math",
    "operator",
    "reprlib",
    "types",
    "weakref",
}
SHIM_FORBIDDEN = {"asyncio", "nats", "grpc", "ssl", "httpx", "subprocess"}

REPORT = """
import sys
before = set(sys.modules)
sys.path[:0] = {paths!r}
for module in {modules!r}:
    __import__(module)
found = sorted(set(sys.modules) - before)
import json
print(json.dumps(found))
"""


def modules_of(*rooms: str) -> list[str]:
    """Every module of these rooms, or the rooms themselves where they are single files."""
    names = []
    for room in rooms:
        path = PACKAGE / room
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        names += [".".join(file.relative_to(SERVICES).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def loaded(*rooms: str) -> set[str]:
    """Top-level modules that a fresh interpreter without `site` loads for these rooms."""
    script = REPORT.format(paths=[str(SERVICES), sysconfig.get_path("platlib")], modules=modules_of(*rooms))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout)} - {"cribus"}


@pytest.mark.parametrize("rooms", [("linux",), ("keeper",), ("executor/child",)], ids=lambda rooms: str(rooms[0]))
def test_after_fork_only_this_is_loaded(rooms: tuple[str, ...]) -> None:
    surplus = {name for name in loaded(*rooms) - AFTER_FORK - BROUGHT if not name.startswith("_")}
    # The interpreter without `site` has not loaded these, every real one has.
    assert surplus - {"os", "stat", "posixpath", "genericpath", "abc", "codecs", "copyreg"} == set()


def test_the_fork_server_of_the_executor() -> None:
    found = loaded("forkserver", "keeper", "executor/child")
    assert found & HEAVY == set()


def test_a_shim() -> None:
    found = loaded("forkserver", "shim")
    assert found & SHIM_FORBIDDEN == set()


def test_the_command_line_of_the_executor_starts_cold() -> None:
    found = loaded("executor/runc_cli")
    assert found & {"asyncio", "nats", "msgspec", "msgpack", "logging", "dataclasses", "argparse", "grpc"} == set()
