import json
from pathlib import Path

import pytest
from cribus.errors import InvalidArgument
from cribus.network import config


def test_the_first_file_in_lexical_order_counts(tmp_path: Path) -> None:
    for name, net in (("20-b.conflist", "b"), ("10-a.conf", "a"), ("05-no.txt", "no")):
        (tmp_path / name).write_text(json.dumps({"cniVersion": "1.0.0", "name": net, "type": "bridge"}))
    found = config.load(str(tmp_path))
    assert found is not None
    assert (found.name, found.plugins[0]["type"]) == ("a", "bridge")


def test_a_list(tmp_path: Path) -> None:
    document = {"cniVersion": "0.4.0", "cniVersions": ["1.1.0", "9.9.9"], "name": "n", "plugins": [{"type": "x"}]}
    (tmp_path / "1.conflist").write_text(json.dumps(document))
    found = config.load(str(tmp_path))
    assert found is not None
    assert found.version == "1.1.0"
    assert config.parse(found.as_json(), "again").plugins == found.plugins


@pytest.mark.parametrize("folder", ["none", "."])
def test_no_file_is_no_network(tmp_path: Path, folder: str) -> None:
    assert config.load(f"{tmp_path}/{folder}") is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ('{"cniVersion": "1.0.0", "type": "x"}', "needs a name"),
        ('{"cniVersion": "1.0.0", "name": "../x", "type": "x"}', "needs a name"),
        ('{"cniVersion": "1.0.0", "name": "x", "plugins": []}', "names no plugins"),
        ('{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "a/b"}]}', "a program's name"),
        ('{"cniVersion": "0.1.0", "name": "x", "type": "x"}', "version 0.1.0"),
    ],
)
def test_a_wrong_file_is_said_so(tmp_path: Path, document: str, words: str) -> None:
    (tmp_path / "1.conflist").write_text(document)
    with pytest.raises(InvalidArgument, match=words):
        config.load(str(tmp_path))


def test_the_default_has_both_families() -> None:
    ipam = config.default("b", "10.0.0.0/16,fd00::/64", "/d").plugins[0]["ipam"]
    assert [one["dst"] for one in ipam["routes"]] == ["0.0.0.0/0", "::/0"]
    assert len(ipam["ranges"]) == 2
