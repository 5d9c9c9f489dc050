"""What is made for a container with a user namespace; that it works is in tests/node/test_runc_cli.py."""

import os
from pathlib import Path
from typing import Any

import pytest
from cribus.executor.runc_cli import users

MAP = [{"containerID": 0, "hostID": 300000, "size": 10}]


def spec(*kinds: str, **linux: Any) -> dict[str, Any]:
    return {"linux": {"namespaces": [{"type": kind} for kind in kinds], **linux}}


def test_without_one_nothing_is_made() -> None:
    for given in (spec("mount"), {"linux": {"namespaces": [{"type": "user", "path": "/ns"}]}}):
        with users.owned(given) as made:
            assert made is given


def test_what_is_new_belongs_to_it() -> None:
    given = spec("user", "pid", "network", "mount", "uts", uidMappings=MAP, gidMappings=MAP)
    with users.owned(given) as made:
        paths = {one["type"]: one.get("path", "") for one in made["linux"]["namespaces"]}
        assert {kind for kind, path in paths.items() if path} == {"user", "network", "uts"}
        pid = paths["user"].split("/")[2]
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "300000", "10"]
        for kind, name in (("user", "user"), ("network", "net"), ("uts", "uts")):
            assert os.readlink(paths[kind]) != os.readlink(f"/proc/self/ns/{name}")
    assert not Path(f"/proc/{pid}").exists()
    assert "path" not in given["linux"]["namespaces"][0]


def test_a_mapping_that_the_kernel_refuses_leaves_nobody() -> None:
    twice = spec("user", uidMappings=MAP * 2, gidMappings=MAP)
    with pytest.raises(OSError, match="Invalid argument"), users.owned(twice):
        pass
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
