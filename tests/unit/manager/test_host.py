"""What this host is like."""

import os
from pathlib import Path

from cribus.manager import host


def test_this_host() -> None:
    seen = host.look()
    assert "CAP_CHOWN" in seen.capabilities
    assert seen.machine == os.uname().machine
    assert -1000 <= seen.oom_score_floor <= 1000


def test_capabilities_are_in_the_kernels_order() -> None:
    assert (host.CAPABILITIES[0], host.CAPABILITIES[21], host.CAPABILITIES[40]) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    )
    assert len(host.CAPABILITIES) == len(set(host.CAPABILITIES)) == 41


def test_devices_are_device_nodes() -> None:
    null = next(one for one in host.devices() if one["path"] == "/dev/null")
    assert (null["type"], null["major"], null["minor"]) == ("c", 1, 3)
    assert not any(one["path"].startswith("/dev/pts/") for one in host.devices())


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert host.describe("x", os.stat(tmp_path / "file")) is None
    assert host.devices(str(tmp_path)) == []
