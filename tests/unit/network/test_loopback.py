import pytest
from cribus.errors import FailedPrecondition
from cribus.network.external import Call
from cribus.network.loopback import Loopback, supports

from tests.unit.network.conftest import MakeNamespace, inside


def test_lo_comes_up(namespace: MakeNamespace) -> None:
    path = namespace()
    call = Call("c", path, "lo")
    conf = {"cniVersion": "1.1.0", "name": "n", "type": "loopback"}
    with pytest.raises(FailedPrecondition, match="down"):
        Loopback().check(conf, call)
    result = Loopback().add(conf, call)
    assert result["ips"][0]["address"] == "127.0.0.1/8"
    assert "127.0.0.1" in inside(path, "ip", "addr", "show", "lo")
    Loopback().check(conf, call)
    Loopback().delete(conf, call)
    assert supports(conf)
    assert not supports({**conf, "other": 1})
