from pathlib import Path

from cribus.network.cache import Cache, Entry
from cribus.network.config import default


def entry() -> Entry:
    network = default("b", "10.0.0.0/24", "/d").as_json()
    return Entry("p", "/ns", 7, "eth0", "crb1", {"A": "b"}, {}, network, {"ips": []})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"))
    cache.write(entry())
    assert Cache(str(tmp_path / "c")).read("p") == entry()
    assert cache.pods() == ["p"]
    assert entry().network_list().plugins[0]["type"] == "bridge"
    cache.remove("p")
    cache.remove("p")
    assert cache.read("p") is None
    assert cache.pods() == []


def test_a_broken_entry_is_none(tmp_path: Path) -> None:
    for text in ("", '{"pod": "p"}'):
        (tmp_path / "p.json").write_text(text)
        assert Cache(str(tmp_path)).read("p") is None
