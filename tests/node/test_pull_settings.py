"""What decides where an image is asked for and by whom: mirrors, and each of CRI's ways to log in; and what
the node says of its images."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.cri import Cri
from tests.faulty import IDENTITY, PASSWORD, TOKEN, USER, Front, Rule, front, status
from tests.harness import IMAGE, Node, until
from tests.registry import Entry, Image, Registry, layer, tar

LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def mirrors(registry: Registry) -> Iterator[list[Front]]:
    with front(registry) as one, front(registry) as two:
        yield [one, two]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, mirrors: list[Front]) -> Iterator[Node]:
    urls = ", ".join(f'"http://{one.host}"' for one in mirrors)
    settings = (
        f'[images]\npinned = ["{IMAGE}"]\n'
        f'[images.mirrors."registry.test"]\nurls = [{urls}]\nonly = true\n'
        f'[images.mirrors."{mirrors[1].host}"]\nurls = ["http://{mirrors[0].host}"]\n'
    )
    with harness.node(tmp_path_factory.mktemp("mirrored"), settings) as one:
        yield one


@pytest.fixture
def cri(mirrored: Node, mirrors: list[Front]) -> Iterator[Cri]:
    for one in mirrors:
        one.rules, one.demand = [], ""
        one.asked.clear()
        one.given.clear()
    made = Cri(mirrored)
    yield made
    made.close()


def pushed(registry: Registry, folder: Path, name: str) -> None:
    registry.push(name, Image([layer(folder, tar([Entry(name, os.urandom(1000))]))]), "v1")


def test_the_first_mirror_that_has_it(cri: Cri, mirrors: list[Front], registry: Registry, tmp_path: Path) -> None:
    pushed(registry, tmp_path, "mirrored")
    first, second = mirrors
    first.rules = [Rule("/blobs/", status(404)), Rule("/manifests/", status(503), 100)]
    reference = cri.call("PullImage", image={"image": "registry.test/mirrored:v1"}).image_ref
    found = cri.call("ImageStatus", image={"image": reference}).image
    assert list(found.repo_tags) == ["registry.test/mirrored:v1"]  # the name that was asked for, not the mirror's
    assert all("ns=registry.test" in path for path, _ in [*first.asked, *second.asked])
    assert [path for path, _ in second.asked if "/blobs/" in path]
    cri.call("RemoveImage", image={"image": reference})


def test_the_registry_itself_comes_after_its_mirrors(
    cri: Cri, mirrors: list[Front], registry: Registry, tmp_path: Path
) -> None:
    pushed(registry, tmp_path, "behind")
    mirror, own = mirrors
    mirror.rules = [Rule("/v2/", status(404))]
    image = {"image": f"{own.host}/behind:v1"}
    cri.call("PullImage", image=image)
    assert mirror.asked
    assert [path for path, _ in own.asked if "/blobs/" in path and "ns=" not in path]
    cri.call("RemoveImage", image=image)


def test_nobody_else_is_asked(cri: Cri, mirrors: list[Front]) -> None:
    for one in mirrors:
        one.rules = [Rule("/v2/", status(404))]
    code, says = cri.refused("PullImage", image={"image": "registry.test/none:v1"})
    assert (code, "check its name" in says) == ("NOT_FOUND", True)


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "user and password": ("basic", {"username": USER, "password": PASSWORD}),
    "both in one": ("basic", {"auth": LOGIN}),
    "for a token": ("bearer", {"auth": LOGIN}),
    "an identity token": ("bearer", {"identity_token": IDENTITY}),
    "a registry token": ("bearer", {"registry_token": TOKEN}),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_log_in(cri: Cri, mirrors: list[Front], registry: Registry, tmp_path: Path, way: str) -> None:
    demand, auth = WAYS[way]
    pushed(registry, tmp_path, "private")
    own = mirrors[0]
    own.demand = demand
    image = {"image": f"{own.host}/private:v1"}
    wrong = {key: "wrong" if key != "auth" else base64.b64encode(b"me:wrong").decode() for key in auth}
    code, says = cri.refused("PullImage", image=image, auth=wrong)
    assert (code, "credentials" in says) == ("UNAUTHENTICATED", True)
    cri.call("PullImage", image=image, auth={**auth, "server_address": f"https://{own.host}/v2/"})
    cri.call("RemoveImage", image=image)


def test_what_is_meant_for_another_registry_is_not_given(cri: Cri, mirrors: list[Front]) -> None:
    own = mirrors[0]
    own.demand = "basic"
    auth = {"username": USER, "password": PASSWORD, "server_address": "other.test"}
    code, says = cri.refused("PullImage", image={"image": f"{own.host}/private:v1"}, auth=auth)
    assert (code, "wants credentials" in says) == ("UNAUTHENTICATED", True)
    assert own.given == {""}


def test_a_login_that_cannot_be_read(cri: Cri, mirrors: list[Front]) -> None:
    code, says = cri.refused("PullImage", image={"image": f"{mirrors[0].host}/private:v1"}, auth={"auth": "%%%"})
    assert (code, "base64" in says) == ("INVALID_ARGUMENT", True)


def test_a_pinned_image_says_so(cri: Cri, registry: Registry, tmp_path: Path) -> None:
    pushed(registry, tmp_path, "common")
    common = {"image": f"{registry.host}/common:v1"}
    cri.call("PullImage", image=common)
    pinned = {tag: one.pinned for one in cri.call("ListImages").images for tag in one.repo_tags}
    assert pinned == {IMAGE: True, common["image"]: False}
    assert cri.call("ImageStatus", image={"image": IMAGE}).image.pinned
    cri.call("RemoveImage", image=common)


def on_disk(*folders: Path) -> tuple[int, int]:
    """Bytes and inodes below folders, as the disk has them."""
    found = {(one := path.lstat()).st_ino: one.st_blocks * 512 for folder in folders for path in folder.rglob("*")}
    return sum(found.values()), len(found)


def test_the_file_systems_numbers_are_true(cri: Cri, registry: Registry, tmp_path: Path) -> None:
    entries = [Entry(f"d{k % 7}/f{k}", os.urandom(k * 97)) for k in range(300)]
    registry.push("counted", Image([layer(tmp_path, tar(entries))]), "v1")
    image = {"image": f"{registry.host}/counted:v1"}
    cri.call("PullImage", image=image)
    images = cri.node.root / "images"

    def told() -> tuple[int, int]:
        [one] = cri.call("ImageFsInfo").image_filesystems
        assert os.path.samestat(os.stat(one.fs_id.mountpoint), images.stat())
        return one.used_bytes.value, one.inodes_used.value

    size, inodes = on_disk(images / "blobs" / "sha256", images / "layers")
    assert told()[0] == pytest.approx(size, rel=0.03)
    assert told()[1] == pytest.approx(inodes, abs=20)
    cri.call("RemoveImage", image=image)
    size, inodes = on_disk(images / "blobs" / "sha256", images / "layers")
    assert told()[0] == pytest.approx(size, rel=0.03)
    assert told()[1] == pytest.approx(inodes, abs=20)


def test_what_containers_write_is_told(cri: Cri) -> None:
    pod = cri.pod()
    container = pod.running()
    pod.says(container, "dd", "if=/dev/zero", "of=/written", "bs=1M", "count=5")

    def written() -> bool:
        [one] = cri.call("ImageFsInfo").container_filesystems
        size = int(one.used_bytes.value)
        return 5 << 20 <= size < 6 << 20 and bool(one.inodes_used.value)

    until(written, 15, "the count is up to date")
    pod.remove()
