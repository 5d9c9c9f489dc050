"""Facts of this very host, and of made-up ones."""

import json
import time
from pathlib import Path

import pytest
from cribus.cli.health import facts
from cribus.config import Network, Settings

MOUNTINFO = """22 1 8:1 / / rw - ext4 /dev/root rw
23 22 0:5 / /run rw,nosuid shared:2 - tmpfs tmpfs rw
24 23 0:6 / /run/lock rw - ramfs none rw
"""


def test_this_host(tmp_path: Path) -> None:
    settings = Settings(node="unit", root=str(tmp_path / "root"), run=str(tmp_path / "run"))
    began = time.monotonic()
    found = facts.gather(settings)
    assert time.monotonic() - began < 2
    assert found.version > (4, 0)
    assert found.overlayfs
    assert "cribus up" in found.node
    assert "cribus up" in found.bus.refused
    assert found.disk_free > 0


@pytest.mark.parametrize(
    ("path", "kind"), [("/run/cribus", "tmpfs"), ("/runaway", "ext4"), ("/run/lock/x", "ramfs"), ("/", "ext4")]
)
def test_file_system(path: str, kind: str) -> None:
    assert facts.file_system(path, MOUNTINFO) == kind


def test_cgroup_versions(tmp_path: Path) -> None:
    assert facts.cgroup_version(tmp_path) == ""
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "tasks").touch()
    assert facts.cgroup_version(tmp_path) == "v1"
    assert facts.controllers(tmp_path) == ["memory"]
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("hugetlb\n")
    assert facts.cgroup_version(tmp_path) == "hybrid"
    (tmp_path / "cgroup.controllers").write_text("memory cpu pids\n")
    assert facts.cgroup_version(tmp_path) == "v2"
    assert facts.controllers(tmp_path) == ["cpu", "memory", "pids"]


def test_cni_lists(tmp_path: Path) -> None:
    network = Network(conf_dir=str(tmp_path), bin_dirs=(str(tmp_path / "bin"),))
    assert facts.cni(network) == facts.Cni()
    path = tmp_path / "10-x.conflist"
    path.write_text("{")
    assert "JSONDecodeError" in facts.cni(network).broken
    plugins = [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "tuning"}]
    path.write_text(json.dumps({"plugins": plugins}))
    found = facts.cni(network)
    assert (found.plugins, found.missing) == (["bridge", "tuning", "host-local"], ["tuning"])


def test_existing() -> None:
    assert facts.existing("/proc/nothing/here") == "/proc"
