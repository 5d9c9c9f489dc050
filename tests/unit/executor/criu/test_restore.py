"""What criu is told to bring back, and where to; that it does is in tests/node/test_restore.py."""

from pathlib import Path
from typing import Any

from cribus.executor.criu import archive, restore
from cribus.executor.plan import build
from cribus.executor.plan.host import Host

from tests.unit.executor.criu.images import write

SPEC: dict[str, Any] = {
    "root": {"path": "rootfs", "readonly": True},
    "process": {"args": ["x"], "cwd": "/"},
    "mounts": [
        {"destination": "/", "type": "overlay", "options": ["lowerdir=/l", "upperdir=/u", "workdir=/w"]},
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "type": "bind", "source": "/var/data", "options": ["rbind"]},
    ],
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/run/net"}],
        "maskedPaths": ["/proc/kcore"],
    },
    "hooks": {"createRuntime": [{"path": "/bin/true"}]},
}


def task(folder: Path) -> restore._Task:
    images = write(folder / "checkpoint")
    plan = build.build(SPEC, build.Place("/run/c", "/cg", ["/cg/cgroup.procs"]), Host())
    return restore._Task("/run/c", str(images), SPEC, plan, archive.check(str(images), SPEC), "/cg")


def test_the_request(tmp_path: Path) -> None:
    made = restore._request("/sbin/criu", task(tmp_path))
    assert [step[0] for step in made["bare"]] == ["propagation", "overlay"]
    assert [step[0] for step in made["mounts"]] == ["filesystem", "bind"]  # no pivot, no halt for hooks
    assert [step[0] for step in made["join"]] == ["cgroups", "join"]
    assert [step[0] for step in made["mask"]] == ["mask"]
    assert made["readonly"]
    assert made["inherit"] == [10, 11, 12]
    line = " ".join(made["argv"])
    assert "--inherit-fd fd[11]:pipe:[5] --inherit-fd fd[12]:pipe:[6]" in line
    assert "fd[10]" not in line  # what had /dev/null opens its own
    assert "--external mnt[/data]:/run/c/pattern/data" in line
    assert f"--images-dir {tmp_path}/checkpoint --work-dir /run/c" in line
