"""The executor's functions with real containers: no bus, a busybox root filesystem.

They run in a process of their own, because a fork server is started before anything else.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("executor_driver.py")


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


CASES = subprocess.run(
    [sys.executable, str(DRIVER), "--list"], capture_output=True, text=True, check=True
).stdout.split()


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, layer: Path) -> None:
    done = subprocess.run([sys.executable, str(DRIVER), case, str(layer)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"left": []}
