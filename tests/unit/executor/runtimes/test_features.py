import asyncio
from pathlib import Path
from typing import Any

import pytest
from cribus.config import Handler
from cribus.executor.node import Node
from cribus.executor.runtimes import features

from tests.unit.executor.forks import Forks


def test_what_runtimes_say() -> None:
    said = {"mountOptions": ["ro", "rro"], "linux": {"mountExtensions": {"idmap": {"enabled": True}}}}
    assert features.read(said).recursive_readonly
    assert features.read(said).idmapped
    nothings: list[dict[str, Any]] = [{}, {"linux": None, "mountOptions": None}, {"linux": {"mountExtensions": {}}}]
    for nothing in nothings:
        assert not features.read(nothing).idmapped
        assert not features.read(nothing).recursive_readonly


def test_all_of_the_configuration(node: Node, tmp_path: Path) -> None:
    node.server = Forks()  # type: ignore[assignment]
    program = tmp_path / "runtime"
    program.write_text('#!/bin/sh\necho \'{"mountOptions": ["rro"]}\'\n')
    program.chmod(0o755)
    node.handlers = {
        "outside": Handler(path=str(program)),
        "old": Handler(path="/bin/false"),
        "gone": Handler(path="/nowhere"),
    }
    found = asyncio.run(features.every(node)).handlers
    assert list(found) == ["", "gone", "old", "outside"]
    assert found[""].recursive_readonly
    assert "no program" in found["gone"].missing
    assert (found["old"].recursive_readonly, found["old"].missing) == (False, "")
    assert (found["outside"].recursive_readonly, found["outside"].idmapped) == (True, False)
    program.unlink()
    assert asyncio.run(features.every(node)).handlers["outside"].missing


@pytest.mark.parametrize(("again", "says"), [(60.0, [False, False]), (0.0, [False, True])])
def test_one_that_hung_is_asked_again(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: float, says: list[bool]
) -> None:
    """But not by each who asks for the node's status."""
    node.server = Forks()  # type: ignore[assignment]
    program = tmp_path / "runtime"
    program.write_text(f"""#!/bin/sh
        [ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exec sleep 60; }}
        echo '{{"mountOptions": ["rro"]}}'
    """)
    program.chmod(0o755)
    node.handlers = {"slow": Handler(path=str(program))}
    monkeypatch.setattr(features, "_DEADLINE", 0.5)
    monkeypatch.setattr(features, "_AGAIN", again)
    assert [asyncio.run(features.every(node)).handlers["slow"].recursive_readonly for _ in says] == says
