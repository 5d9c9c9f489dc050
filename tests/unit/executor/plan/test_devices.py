import os
import stat

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.plan import devices
from cribus.executor.plan.idmap import Owner


def test_the_usual_and_the_asked() -> None:
    asked = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 5}
    _, nodes, links = devices.step({"devices": [asked]}, Owner({}))
    paths = [node[0] for node in nodes]
    assert paths == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse"]
    assert nodes[-1] == ["/dev/fuse", stat.S_IFCHR | 0o600, os.makedev(10, 229), 5, 0]
    assert ["/dev/ptmx", "pts/ptmx"] in links


def test_unknown_type() -> None:
    with pytest.raises(InvalidArgument, match="none of c, u, b, p"):
        devices.step({"devices": [{"path": "/dev/x", "type": "z"}]}, Owner({}))


def test_rules() -> None:
    deny = [{"allow": False, "access": "rwm"}]
    assert devices.allowed([], terminal=False) == []
    assert devices.allowed([{"allow": True, "access": "rwm"}], terminal=True) == [{"allow": True, "access": "rwm"}]
    plain, terminal = devices.allowed(deny, terminal=False), devices.allowed(deny, terminal=True)
    assert plain[0] == deny[0]
    assert len(terminal) == len(plain) + 1
