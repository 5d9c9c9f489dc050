import pytest
from cribus.api.executor import IdMap
from cribus.errors import InvalidArgument
from cribus.executor.plan import idmap


def test_text() -> None:
    assert idmap.text([IdMap(container=0, host=1000, size=10)]) == "0 1000 10\n"
    with pytest.raises(InvalidArgument, match="at least one"):
        idmap.text([])


def test_lines_of_the_runtime_specs_mappings() -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    assert idmap.lines(mapping) == "0 1000 10\n"
    owner = idmap.Owner({"uidMappings": mapping, "gidMappings": mapping})
    assert owner.same(mapping, mapping)
    assert not owner.same(mapping, [{**mapping[0], "size": 9}])


def test_owner() -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    owner = idmap.Owner({"uidMappings": mapping, "gidMappings": mapping})
    assert (owner.mapped, owner.uid(0), owner.gid(9)) == (True, 1000, 1009)
    with pytest.raises(InvalidArgument, match="user 10 is not mapped"):
        owner.uid(10)
    assert (idmap.Owner({}).mapped, idmap.Owner({}).uid(42)) == (False, 42)
