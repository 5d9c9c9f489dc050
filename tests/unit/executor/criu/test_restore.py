"""What criu is told to bring back, and where to; that it does is in tests/node/test_restore.py."""

from pathlib import Path
from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.criu import restore
from cribus.executor.plan import build
from cribus.executor.plan.host import Host

from tests.unit.executor.criu.images import image, mount, write

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


def task(folder: Path, **changed: bytes | None) -> restore._Task:
    images = write(folder / "checkpoint", **changed)
    plan = build.build(SPEC, build.Place("/run/c", "/cg", ["/cg/cgroup.procs"]), Host())
    return restore._Task("/run/c", str(images), SPEC, plan, ["/dev/null", "pipe:[5]", "pipe:[6]"], "/cg")


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


@pytest.mark.parametrize("name", ["data", "/../../etc", "/a/../../b", "/a]:/etc/shadow", "/a\nb"])
def test_names_that_are_no_places(tmp_path: Path, name: str) -> None:
    mounts = image(mount(0, "/data", (18, name.encode())))
    with pytest.raises(InvalidArgument, match="which is no place"):
        restore._request("/sbin/criu", task(tmp_path, mountpoints_10=mounts))
