import json
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.executor.runc_cli import hosthooks

from tests.unit.executor.runc_cli.conftest import Make


def hook(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


def test_the_state_on_standard_input(make: Make, tmp_path: Path) -> None:
    box = make(pid=1, hooks={"createRuntime": [hook(f"cat > {tmp_path}/seen")]})
    hosthooks.run(box, ("prestart", "createRuntime"), "creating")
    seen = json.loads((tmp_path / "seen").read_text())
    assert (seen["id"], seen["status"], seen["pid"], seen["bundle"]) == ("c", "creating", 1, f"{tmp_path}/bundle")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (hook("echo why; exit 3"), "ended with 3: why"),
        (hook("exec sleep 100", timeout=1), "was killed after its 1 s"),
        ({"path": "/nowhere"}, "No such file"),
    ],
)
def test_one_that_fails(make: Make, one: dict[str, Any], text: str) -> None:
    with pytest.raises(FailedPrecondition, match=text):
        hosthooks.run(make(hooks={"poststart": [one]}), ("poststart",), "running")


def test_afterwards_each_has_its_turn(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = make(hooks={"poststop": [hook("exit 1"), hook(f"touch {tmp_path}/second")]})
    hosthooks.run_all(box, ("poststop",), "stopped")
    assert (tmp_path / "second").exists()
    assert "ended with 1" in capsys.readouterr().err
