"""Real devices and namespaces."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.errors import AlreadyExists, InvalidArgument
from cribus.executor import netdevices

NAME = f"crbm{os.getpid() % 10**6}"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a pair, with an address."""
    try:
        ip("link", "add", NAME, "type", "veth", "peer", "name", f"{NAME}p")
        ip("addr", "add", "192.0.2.9/28", "dev", NAME)
        yield NAME
    finally:
        subprocess.run(["ip", "link", "del", f"{NAME}p"], check=False)


@pytest.fixture
def there() -> Iterator[int]:
    """A process in another network namespace."""
    ip("netns", "add", NAME)
    sleeper = subprocess.Popen(["ip", "netns", "exec", NAME, "sh", "-c", "echo in; read x"], stdin=-1, stdout=-1)
    pidfd = os.pidfd_open(sleeper.pid)
    try:
        assert sleeper.stdout is not None
        assert sleeper.stdout.read(3) == b"in\n"
        yield pidfd
    finally:
        sleeper.communicate()
        os.close(pidfd)
        ip("netns", "del", NAME)


def inside() -> str:
    return ip("-n", NAME, "-o", "addr")


def test_it_keeps_its_name_without_another(device: str, there: int, tmp_path: Path) -> None:
    netdevices.move({device: {}}, there, f"{tmp_path}/note")
    assert f"{device} " in inside()
    assert "192.0.2.9/28" in inside()
    assert list(tmp_path.iterdir()) == []
    netdevices.move({device: {}}, there, f"{tmp_path}/note")


def test_what_was_cut_short_is_made_whole(
    device: str, there: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> bytes:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(netdevices, "_readdressed", killed)
        with pytest.raises(Killed):
            netdevices.move({device: {"name": "new0"}}, there, f"{tmp_path}/note")
    assert "new0" in ip("-n", NAME, "link")
    assert "192.0.2.9" not in inside()
    netdevices.move({device: {"name": "new0"}}, there, f"{tmp_path}/note")
    assert "192.0.2.9/28" in inside()


def test_a_process_that_has_ended(device: str, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pidfd = os.pidfd_open(ended.pid)
    with pytest.raises(ProcessLookupError):
        netdevices.move({device: {}}, pidfd, f"{tmp_path}/note")
    os.close(pidfd)
    assert Path(f"/sys/class/net/{device}").exists()


def test_what_cannot_be(device: str, there: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no network device crbnone"):
        netdevices.move({"crbnone": {}}, there, f"{tmp_path}/note")
    with pytest.raises(AlreadyExists, match="a network device lo already"):
        netdevices.move({device: {"name": "lo"}}, there, f"{tmp_path}/note")
