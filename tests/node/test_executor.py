"""The executor's functions with real containers: no bus, a busybox root filesystem.

They run in a process of their own, because a fork server is started before anything else. The same
cases run with outside runtimes: a case that runc fails is a wrong case.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import outside

ROOT = Path(__file__).resolve().parents[2]
DRIVER = [sys.executable, "-m", "tests.node.executor_driver"]
USUAL = (
    "output_and_exit_code",
    "exec_in_it",
    "signals_and_states",
    "another_executor",
    "terminal",
    "exec_with_a_terminal",
)


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image layer: static busybox and its names."""
    root = tmp_path_factory.mktemp("layer")
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev"):
        (root / name).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if not (root / "bin" / name).exists():
            os.symlink("busybox", root / "bin" / name)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    os.symlink("../run/nowhere/resolv.conf", root / "etc/resolv.conf")
    return root


def cases(listed: str) -> list[str]:
    return subprocess.run([*DRIVER, listed], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()


def check(case: str, layer: Path, runtime: str) -> None:
    env = {**os.environ, "CRIBUS_TEST_RUNTIME": runtime}
    argv = [*DRIVER, case, str(layer)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"left": []}


@pytest.mark.parametrize("case", cases("--list-native"))
def test_case(case: str, layer: Path) -> None:
    check(case, layer, "")


@pytest.mark.parametrize("case", cases("--list"))
def test_runc(case: str, layer: Path) -> None:
    check(case, layer, outside.RUNC)


@pytest.mark.parametrize("case", USUAL)
@pytest.mark.parametrize("runtime", [outside.DEBIANS, outside.crun()], ids=["debian-runc", "debian-crun"])
def test_debian(case: str, runtime: str, layer: Path) -> None:
    check(case, layer, runtime)
