"""Images and their names, over restarts."""

import asyncio
from pathlib import Path

import pytest
from cribus.errors import InvalidArgument, NotFound
from cribus.images.store import Image, Layer, Store

A, B = ("sha256:" + two * 32 for two in ("ab", "ac"))


def image(id: str) -> Image:
    return Image(id=id, manifest=id, size=1, layers=[Layer(id, id, 1, "")])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    asyncio.run(made.add(image(A), ["docker.io/library/abab:latest", f"docker.io/library/x@{A}"]))
    return made


def test_found_by_every_name(store: Store, tmp_path: Path) -> None:
    for one in (store, Store(tmp_path)):
        for text in ("abab", "docker.io/library/abab", f"x@{A}", A, A[7:], A[7:20], A[:20]):
            assert one.need(text).id == A
        assert one.find("other") is None
        assert one.find(B) is None
        with pytest.raises(NotFound, match="pull it first"):
            one.need("other")


def test_a_name_goes_before_the_beginning_of_an_id(store: Store) -> None:
    asyncio.run(store.add(image(B), ["docker.io/library/acac:latest"]))
    asyncio.run(store.add(image("sha256:" + "acac" + "0" * 60), []))
    assert store.need("acac").id == B


def test_a_beginning_of_two(store: Store) -> None:
    asyncio.run(store.add(image("sha256:" + "abab" + "0" * 60), []))
    with pytest.raises(InvalidArgument, match="2 images"):
        store.find("sha256:abab")
    with pytest.raises(InvalidArgument, match="no image is named"):
        store.find("")


def test_a_name_moves(store: Store) -> None:
    asyncio.run(store.add(image(B), ["docker.io/library/abab:latest"]))
    assert store.names(A) == [f"docker.io/library/x@{A}"]
    assert store.names(B) == ["docker.io/library/abab:latest"]


def test_removed(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        asyncio.run(store.remove(A))
    assert (store.images, store.references) == ({}, {})
    assert list((tmp_path / "references").iterdir()) == []


def test_a_torn_file_costs_its_image_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "images" / "torn.json").write_bytes(b"")
    (tmp_path / "references" / "torn.json").write_bytes(b"{}")
    assert set(Store(tmp_path).images) == {A}
    assert not (tmp_path / "images" / "torn.json").exists()


def test_a_very_long_name(store: Store, tmp_path: Path) -> None:
    long = "host.test/" + "a" * 240 + ":tag"
    asyncio.run(store.add(image(A), [long]))
    assert Store(tmp_path).need(long).id == A


def test_what_is_stacked() -> None:
    twice = Image(id=A, manifest=A, size=1, layers=[Layer(A, A, 1, ""), Layer(B, B, 1, ""), Layer(A, A, 1, "")])
    assert twice.stacked() == [A, B]
