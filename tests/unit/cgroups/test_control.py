import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cribus.cgroups import control
from cribus.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unimplemented


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("anon 5\nfile 7\nodd\n")
    (tmp_path / "max").write_text("max\n")
    assert control.keyed(f"{tmp_path}/stat") == {"anon": 5, "file": 7}
    assert control.number(f"{tmp_path}/max", 3) == 3
    assert control.read_or(f"{tmp_path}/none", "x") == "x"


def test_what_is_refused_first_is_written_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def write(path: str, text: str) -> None:
        if path == "/c/small" and "/c/big" not in done:
            raise OSError(errno.EINVAL, "")
        done.append(path)

    monkeypatch.setattr(control, "write", write)
    control.write_all([("/c/small", "1"), ("/c/big", "2")])
    assert done == ["/c/big", "/c/small"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.EINVAL, InvalidArgument), (errno.EBUSY, FailedPrecondition), (errno.EACCES, PermissionDenied)],
)
def test_refusals_are_sentences(tmp_path: Path, code: int, kind: type[Exception]) -> None:
    assert isinstance(control.explained(OSError(code, ""), f"{tmp_path}/memory.max", "1"), kind)


def test_a_file_the_kernel_lacks(tmp_path: Path) -> None:
    with pytest.raises(Unimplemented, match=r"no memory\.max"):
        control.write_all([(f"{tmp_path}/memory.max", "1")])


def test_signals_and_waiting_for_exit() -> None:
    child = subprocess.Popen(["sleep", "60"])
    control.signal_all([child.pid, 2**22 - 3], signal.SIGTERM)
    control.wait_for_exit([child.pid], 5)
    assert child.wait(1) == -signal.SIGTERM


def test_a_tree_that_is_gone_is_removed(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "a" / "b")
    control.remove_tree(f"{tmp_path}/a", time.monotonic() + 1)
    control.remove_tree(f"{tmp_path}/a", time.monotonic() + 1)
    assert control.processes(f"{tmp_path}/a") == []
