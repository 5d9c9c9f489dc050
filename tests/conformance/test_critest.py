"""The node group's own suite, against a node of this machine."""

import shutil

import pytest

from tests.bench import peer
from tests.conformance import critest
from tests.conformance.__main__ import prepared

PASSED = 127  # containerd v2.4.2 with runc v1.5.2 passes 124 on such a machine and skips three more


@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not (peer.programs() / "critest").exists() and not shutil.which("go"), reason="critest is built with go"
)
def test_critest() -> None:
    folder = peer.programs()
    folder.mkdir(parents=True, exist_ok=True)
    program = critest.build(folder)
    with prepared("cribus", folder) as (side, work):
        results = critest.run(program, side, work)
    failed = [f"{one.name}: {one.message[:300]}" for one in critest.unexpected(results)]
    assert not failed, "\n".join(failed)
    assert [one.name for one in results if one.state == "skipped" and "AppArmor" not in one.name] == []
    assert sum(one.state == "passed" for one in results) >= PASSED
