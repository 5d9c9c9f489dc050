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


def run(case: str, layer: Path, runtime: str) -> subprocess.CompletedProcess[str]:
    """Whether it held or not, it leaves nothing."""
    env = {**os.environ, "CRIBUS_TEST_RUNTIME": runtime}
    argv = [*DRIVER, case, str(layer)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env, cwd=ROOT)
    assert json.loads(done.stdout.splitlines()[-1]) == {"left": []}, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("case", cases("--list-native"))
def test_case(case: str, layer: Path) -> None:
    done = run(case, layer, "")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", cases("--list"))
def test_runc(case: str, layer: Path) -> None:
    done = run(case, layer, outside.RUNC)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", [*cases("--list-usual"), *outside.FURTHER])
@pytest.mark.parametrize("runtime", outside.OTHERS)
def test_outside(case: str, runtime: str, layer: Path) -> None:
    """All holds for each, but what is known not to, which fails as it is known to."""
    one = outside.OTHERS[runtime]
    done = run(case, layer, one.command)
    if case in one.unlike:
        assert done.returncode == 1, f"{case} holds with {runtime}: take it out of tests/outside.py"
        assert one.unlike[case] in done.stderr, done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr
