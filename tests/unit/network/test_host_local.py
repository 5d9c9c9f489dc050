import ipaddress
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import InvalidArgument, ResourceExhausted
from cribus.network.host_local import Store, parse_ranges, supports


def ranges(*subnets: str, **more: Any) -> Any:
    return parse_ranges({"ranges": [[{"subnet": one, **more}] for one in subnets]}, [])


def take(store: Store, of: Any, container: str) -> list[str]:
    return [str(one.address) for one in store.allocate(of, container, "eth0")]


def test_addresses_in_turn_without_the_gateway(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "net")
    of = ranges("10.1.0.0/29")
    assert [take(store, of, f"c{n}")[0] for n in range(5)] == [f"10.1.0.{n}/29" for n in range(2, 7)]
    with pytest.raises(ResourceExhausted, match=r"10\.1\.0\.0/29"):
        take(store, of, "c5")
    store.release("c1", [])
    assert take(store, of, "c5") == ["10.1.0.3/29"]


def test_an_address_rests_before_it_is_used_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "net")
    of = ranges("10.1.0.0/29")
    for _ in range(2):
        assert take(store, of, "a")[0] == f"10.1.0.{2 + _}/29"
        store.release("a", [])


def test_files_are_as_the_reference_keeps_them(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "net")
    take(store, ranges("10.1.0.0/24"), "c1")
    assert sorted(os.listdir(tmp_path / "net")) == ["10.1.0.2", "last_reserved_ip.0", "lock"]
    assert (tmp_path / "net" / "10.1.0.2").read_bytes() == b"c1\r\neth0"
    assert (tmp_path / "net" / "last_reserved_ip.0").read_text() == "10.1.0.2"


def test_two_families_all_or_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "net")
    assert take(store, ranges("10.1.0.0/24", "fd00::/64"), "c") == ["10.1.0.2/24", "fd00::2/64"]
    full = ranges("10.2.0.0/24", "10.3.0.0/30")
    take(store, full, "d")
    with pytest.raises(ResourceExhausted):
        take(store, full, "e")
    assert not [name for name in os.listdir(tmp_path / "net") if b"e\r\n" in (tmp_path / "net" / name).read_bytes()]


def test_several_ranges_of_one_group(tmp_path: Path) -> None:
    group = parse_ranges(
        {
            "ranges": [
                [
                    {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6", "gateway": "10.1.0.5"},
                    {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.9", "rangeEnd": "10.2.0.9"},
                ]
            ]
        },
        [],
    )
    store = Store(str(tmp_path), "net")
    assert [take(store, group, name) for name in "ab"] == [["10.1.0.6/24"], ["10.2.0.9/24"]]


def test_release_leaves_what_is_others(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "net")
    take(store, ranges("10.1.0.0/24"), "a")
    take(store, ranges("10.1.0.0/24"), "b")
    store.release("a", [ipaddress.ip_address("10.1.0.3")])
    assert store.owned(ipaddress.ip_address("10.1.0.3"), "b")
    store.keep_only({"b"})
    assert not store.owned(ipaddress.ip_address("10.1.0.2"), "a")
    (tmp_path / "net" / "10.1.0.9").write_text("")  # what a power cut left
    store.keep_only({"b"})
    assert sorted(os.listdir(tmp_path / "net")) == ["10.1.0.3", "last_reserved_ip.0", "lock"]


def test_many_at_once_get_different_addresses(tmp_path: Path) -> None:
    of = ranges("10.1.0.0/24")
    found: list[str] = []

    def some(name: str) -> None:
        found.extend(take(Store(str(tmp_path), "net"), of, f"{name}{n}")[0] for n in range(20))

    threads = [threading.Thread(target=some, args=(name,)) for name in "abcd"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 80


@pytest.mark.parametrize(
    "one",
    [
        {},
        {"subnet": "10.1.0.0/31"},
        {"subnet": "x"},
        {"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"},
        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.2"},
    ],
)
def test_wrong_ranges(one: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_ranges({"ranges": [[one]]}, [])


def test_ranges_given_by_the_runtime_come_first() -> None:
    both = parse_ranges({"subnet": "10.1.0.0/24"}, [[{"subnet": "10.9.0.0/24"}]])
    assert [str(group[0].subnet) for group in both] == ["10.9.0.0/24", "10.1.0.0/24"]
    with pytest.raises(InvalidArgument, match="no range"):
        parse_ranges({}, [])


def test_options_that_we_do_not_know_are_left_to_the_reference() -> None:
    assert supports({"type": "host-local", "subnet": "10.0.0.0/8", "routes": [{"dst": "0.0.0.0/0"}]})
    assert not supports({"type": "dhcp"})
    assert not supports({"type": "host-local", "resolvConf": "/etc/resolv.conf"})
    assert not supports({"type": "host-local", "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}]})
