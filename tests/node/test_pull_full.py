"""A store without room, and a service without descriptors: a sentence, nothing left, and all well afterwards."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.disk import ext4, mounted
from tests.harness import IMAGE, Node, node, until
from tests.node.test_pull_faults import refused, rooms
from tests.registry import Entry, Image, Registry, layer, tar


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Path]]:
    """A node whose image store has a file system of 40 MiB and 3,000 inodes."""
    base = tmp_path_factory.mktemp("full")
    (base / "node").mkdir()
    with mounted(ext4(base / "image", 40, "-N", "3000"), base / "store") as store:

        def elsewhere(one: Node) -> None:
            one.root.mkdir()
            (one.root / "images").symlink_to(store)

        with node(base / "node", before=elsewhere) as one:
            yield one, store


def write_on(file: IO[bytes], size: int) -> None:
    while True:
        file.write(bytes(size))


@contextmanager
def filled(store: Path, left: int) -> Iterator[None]:
    """No more than so many KiB of room."""
    path = store / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 4096, 4096):  # what was reserved and not needed is free again after a sync
            with pytest.raises(OSError, match="No space left"):
                write_on(file, size)
            os.fsync(file)
        file.truncate(max(0, file.tell() - left * 1024))
    try:
        yield
    finally:
        path.unlink()


def image(registry: Registry, folder: Path, name: str, *entries: Entry) -> str:
    registry.push(name, Image([layer(folder, tar(entries))]), "v1")
    return f"{registry.host}/{name}:v1"


def emptied(one: Node, before: dict[str, list[str]]) -> None:
    until(lambda: rooms(one) == before, 5, f"{before} again, not {rooms(one)}")
    until(lambda: not os.listdir(one.root / "images" / "trash"), 10, "an empty trash")


@pytest.mark.parametrize("left", [10_000, 4_000, 40])
def test_too_little_room(small: tuple[Node, Path], registry: Registry, tmp_path: Path, left: int) -> None:
    """For the blob and its files, for the blob alone, for nothing."""
    one, store = small
    wanted = image(registry, tmp_path, f"large{left}", Entry("large", os.urandom(8 << 20)))
    before = rooms(one)
    with filled(store, left):
        assert "df -h" in refused(one, wanted, "ResourceExhausted")
        emptied(one, before)
    one.crictl("pull", wanted)
    one.crictl("rmi", wanted)
    emptied(one, before)


def test_too_few_inodes(small: tuple[Node, Path], registry: Registry, tmp_path: Path) -> None:
    one, _ = small
    wanted = image(registry, tmp_path, "many", *(Entry(f"file{k}") for k in range(5000)))
    before = rooms(one)
    assert "df -i" in refused(one, wanted, "ResourceExhausted")
    emptied(one, before)


def test_a_full_store_can_be_emptied(small: tuple[Node, Path], registry: Registry, tmp_path: Path) -> None:
    """Not even a writable layer has room; the service starts all the same, and removing makes room."""
    one, store = small
    before = rooms(one)
    wanted = image(registry, tmp_path, "removable", Entry("file", os.urandom(2 << 20)))
    one.crictl("pull", wanted)
    pod = one.pod("full")
    with filled(store, 0):
        config = one.container_config("full", "true", image={"image": IMAGE})
        answer = one.try_crictl("create", pod, str(config), str(one.base / "full-pod.json"))
        assert "code = ResourceExhausted" in answer.stderr, answer.stderr
        assert "df -h" in answer.stderr
        os.kill(one.services()["images"], signal.SIGKILL)
        until(lambda: one.try_crictl("rmi", wanted).returncode == 0, 10, "the image is removed")
        emptied(one, before)
        one.crictl("rmp", "-f", one.pod("again"))
        until(
            lambda: one.try_crictl("create", pod, str(config), str(one.base / "full-pod.json")).returncode == 0,
            10,
            "room",
        )
    one.crictl("rmp", "-f", pod)


def test_out_of_descriptors(small: tuple[Node, Path], registry: Registry, tmp_path: Path) -> None:
    one, _ = small
    wanted = image(registry, tmp_path, "descriptors", Entry("file", os.urandom(100_000)))
    before = rooms(one)
    service = one.services()["images"]
    soft, hard = resource.prlimit(service, resource.RLIMIT_NOFILE)
    taken = len(os.listdir(f"/proc/{service}/fd"))
    for spare in (0, 1, 2, 4):
        resource.prlimit(service, resource.RLIMIT_NOFILE, (taken + spare, hard))
        try:
            assert "ulimit" in refused(one, wanted, "ResourceExhausted")
        finally:
            resource.prlimit(service, resource.RLIMIT_NOFILE, (soft, hard))
    one.crictl("pull", wanted)
    one.crictl("rmi", wanted)
    emptied(one, before)
    assert one.services()["images"] == service
