import os
import socket
import threading
from pathlib import Path

import pytest
from cribus.cgroups import systemd
from cribus.cgroups.v2 import V2
from cribus.errors import InvalidArgument, Unavailable

from tests.unit.cgroups.test_dbus import serve


def test_slices() -> None:
    assert systemd.slice_path("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert systemd.slice_path("-.slice") == "/"
    for bad in ("a", "a--b.slice", "-a.slice", "a/b.slice", ".slice"):
        with pytest.raises(InvalidArgument):
            systemd.slice_path(bad)


def test_names() -> None:
    assert systemd.below("/kube.slice/kube-x.slice", "podp") == "kube-x-podp.slice"
    assert systemd.scope_name("cri", "c") == "cri-c.scope"
    assert systemd.scope_name("", "c.slice") == "c.slice"


def test_systemd_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BUS", f"{tmp_path}/none")
    with pytest.raises(Unavailable, match="cgroupfs"):
        systemd.stop("/a.slice/b.scope")


@pytest.mark.parametrize(("error", "fails"), [("", False), ("UnitExists", False), ("AccessDenied", True)])
def test_a_scope_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, fails: bool) -> None:
    path = f"{tmp_path}/bus"
    monkeypatch.setattr(systemd, "BUS", path)
    name = f"org.freedesktop.systemd1.{error}" if error else ""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        heard: list[bytes] = []
        thread = threading.Thread(target=serve, args=(listener, heard, name))
        thread.start()
        if fails:
            with pytest.raises(Unavailable, match="AccessDenied"):
                systemd.start("/a.slice/crb-c.scope", os.getpid(), [("TasksMax", "t", 77)])
        else:
            systemd.start("/a.slice/crb-c.scope", os.getpid(), [("TasksMax", "t", 77)])
        thread.join(5)
    call = heard[1]
    for word in (
        b"StartTransientUnit",
        b"ssa(sv)a(sa(sv))",
        b"crb-c.scope",
        b"Delegate",
        b"a.slice",
        b"PIDs",
        b"CollectMode",
    ):
        assert word in call
    assert os.getpid().to_bytes(4, "little") in call
    assert b"TasksMax\0\1t\0" in call
    assert (77).to_bytes(8, "little") in call


def test_limits_as_properties() -> None:
    assert systemd.amount("max") == systemd.INFINITY
    assert systemd.quota("50000", "100000") == [
        ("CPUQuotaPerSecUSec", "t", 500_000),
        ("CPUQuotaPeriodUSec", "t", 100_000),
    ]
    assert systemd.quota("max", "100000")[0][2] == systemd.quota("-1", "100000")[0][2] == systemd.INFINITY
    assert systemd.mask("0-2,5") == bytes([0b100111])
    assert systemd.mask("8") == b"\0\1"


def test_limits_that_change_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else systemd writes the old ones again, the next time it looks after the unit."""
    (tmp_path / "c.scope").mkdir()
    (tmp_path / "c.scope" / "memory.max").write_text("max")
    monkeypatch.setattr(systemd, "BUS", f"{tmp_path}/bus")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/bus")
        listener.listen()
        heard: list[bytes] = []
        thread = threading.Thread(target=serve, args=(listener, heard, "org.freedesktop.systemd1.NoSuchUnit"))
        thread.start()
        V2("systemd", "cribus", str(tmp_path)).change("/c.scope", {"memory": {"limit": 4096}})
        thread.join(5)
    for word in (b"SetUnitProperties", b"sba(sv)", b"c.scope", b"MemoryMax"):
        assert word in heard[1]
    assert (4096).to_bytes(8, "little") in heard[1]
