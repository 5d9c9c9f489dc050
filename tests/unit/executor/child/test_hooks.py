import json
from pathlib import Path
from typing import Any

import pytest
from cribus.executor.child.failure import Failed
from cribus.executor.child.hooks import State


def hook(script: str, seconds: int = 0, path: str = "/bin/sh") -> list[Any]:
    return ["createContainer", path, ["sh", "-c", script], {"A": "b"}, seconds]


def test_each_reads_the_whole_state(tmp_path: Path) -> None:
    State('{"id": "c"}', 17).run([hook(f"cat > {tmp_path}/1"), hook(f"cat > {tmp_path}/2; echo $A")], "creating")
    for name in ("1", "2"):
        assert json.loads((tmp_path / name).read_text()) == {"id": "c", "status": "creating", "pid": 17}


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (hook("echo why >&2; exit 3"), "ended with 3: why"),
        (hook("kill -9 $$"), "ended with 137"),
        (hook("sleep 100", 1), "was killed after its 1 s"),
        (hook("", path="/nowhere"), "/nowhere ended with 127: No such file or directory"),
    ],
)
def test_one_that_fails(one: list[Any], text: str) -> None:
    with pytest.raises(Failed, match=text):
        State('{"id": "c"}', 1).run([one], "created")
