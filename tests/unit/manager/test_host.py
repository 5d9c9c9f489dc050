"""What this host is like."""

import os

import pytest
from cribus.manager import host


def test_this_host() -> None:
    seen = host.look()
    assert "CAP_CHOWN" in seen.capabilities
    assert seen.machine == os.uname().machine
    assert -1000 <= seen.oom_score_floor <= 1000


def test_apparmor_is_active_whatever_else_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said by name when it is needed: apparmor.py."""
    real = host._text
    for enabled, active in (("Y", True), ("N", False), ("", False)):
        monkeypatch.setattr(host, "_text", lambda path, says=enabled: says if "apparmor" in path else real(path))
        assert host.look().apparmor is active


def test_capabilities_are_in_the_kernels_order() -> None:
    assert (host.CAPABILITIES[0], host.CAPABILITIES[21], host.CAPABILITIES[40]) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    )
    assert len(host.CAPABILITIES) == len(set(host.CAPABILITIES)) == 41
