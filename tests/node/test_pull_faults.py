"""Registries that fail and layers that attack: the right code, a sentence that helps, and nothing left."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.faulty import PASSWORD, USER, Front, Rule, flipped, longer, replaced, reset, status, truncated
from tests.harness import Node, until
from tests.registry import PLAIN, Entry, Image, Layer, Registry, digest, layer, store, tar

LIMIT = 4 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that takes no layer over 4 MiB."""
    with harness.node(tmp_path_factory.mktemp("small"), f"[images]\nmax_layer_size = {LIMIT}\n") as one:
        yield one


@pytest.fixture
def node(small: Node) -> Iterator[Node]:
    """The node, whose pulls must leave what they found."""
    before = rooms(small)
    yield small
    until(lambda: rooms(small) == before, 5, f"{before} again, not {rooms(small)}")
    until(lambda: not os.listdir(small.root / "images" / "trash"), 10, "an empty trash")


def rooms(node: Node) -> dict[str, list[str]]:
    kinds = ("making", "partial", "layers", "blobs/sha256", "images", "references")
    return {kind: sorted(os.listdir(node.root / "images" / kind)) for kind in kinds}


def pushed(registry: Registry, folder: Path, name: str) -> Layer:
    one = layer(folder, tar([Entry(name, os.urandom(300_000))]))
    registry.push(name, Image([one]), "v1")
    return one


def refused(node: Node, image: str, code: str, *args: str) -> str:
    """Pull in vain; returns what crictl says."""
    answer = node.try_crictl("pull", *args, image)
    assert answer.returncode != 0
    assert f"code = {code}" in answer.stderr, answer.stderr
    return answer.stderr


def gone(node: Node, image: str) -> None:
    node.crictl("rmi", image)


PASSING = {"reset": reset(100), "500": status(500), "503": status(503), "429": status(429, Retry_After="1")}


@pytest.mark.parametrize("what", PASSING)
def test_what_passes_is_survived(node: Node, registry: Registry, faulty: Front, tmp_path: Path, what: str) -> None:
    one = pushed(registry, tmp_path, "passing")
    faulty.rules = [Rule(one.digest, PASSING[what], 2), Rule("/manifests/", PASSING[what], 1)]
    node.crictl("pull", f"{faulty.host}/passing:v1")
    gone(node, f"{faulty.host}/passing:v1")


def test_after_a_reset_the_rest_alone_is_asked_for(
    node: Node, registry: Registry, faulty: Front, tmp_path: Path
) -> None:
    one = pushed(registry, tmp_path, "resumed")
    faulty.rules = [Rule(one.digest, reset(100_000), 1)]
    node.crictl("pull", f"{faulty.host}/resumed:v1")
    ranges = [wanted for path, wanted in faulty.blobs() if one.digest in path]
    assert ranges[0] == ""
    assert [int(wanted.removeprefix("bytes=").rstrip("-")) > 0 for wanted in ranges[1:]] == [True]
    gone(node, f"{faulty.host}/resumed:v1")


BAD_BLOBS = {
    "another bit": (flipped, "DataLoss", "digest"),
    "too long": (longer, "DataLoss", "more than"),
    "404": (status(404), "NotFound", "404"),
    "403": (status(403), "PermissionDenied", "credentials"),
}


@pytest.mark.parametrize("what", BAD_BLOBS)
def test_a_bad_blob_is_refused(node: Node, registry: Registry, faulty: Front, tmp_path: Path, what: str) -> None:
    fault, code, says = BAD_BLOBS[what]
    one = pushed(registry, tmp_path, "bad-blob")
    faulty.rules = [Rule(one.digest, fault)]
    assert says in refused(node, f"{faulty.host}/bad-blob:v1", code)


def test_a_blob_that_is_always_cut_short_is_kept_for_the_next_try(
    node: Node, registry: Registry, faulty: Front, tmp_path: Path
) -> None:
    one = pushed(registry, tmp_path, "short")
    faulty.rules = [Rule(one.digest, truncated(1000), 1), Rule(one.digest, reset(0))]
    assert "broke off" in refused(node, f"{faulty.host}/short:v1", "Unavailable")
    assert rooms(node)["partial"] == [one.digest[7:]]
    faulty.rules = []
    faulty.asked.clear()
    node.crictl("pull", f"{faulty.host}/short:v1")
    assert [wanted for path, wanted in faulty.blobs() if one.digest in path] == [
        f"bytes={one.path.stat().st_size - 1000}-"
    ]
    gone(node, f"{faulty.host}/short:v1")


BAD_MANIFESTS = {
    "404": (status(404), "NotFound", "check its name and tag"),
    "403": (status(403), "PermissionDenied", "credentials"),
    "429 for long": (status(429, Retry_After="3600"), "ResourceExhausted", "3600"),
    "500 always": (status(500), "Unavailable", "500"),
    "no JSON": (replaced(b"<html>"), "InvalidArgument", "JSON"),
    "a list": (replaced(b"[]"), "InvalidArgument", "JSON object"),
    "no image": (replaced(b"{}"), "InvalidArgument", "config"),
    "a wrong type": (replaced(b'{"config": 7, "layers": {}}'), "InvalidArgument", "JSON object"),
    "no digest": (replaced(b'{"config": {"digest": "sha256:../../../etc"}}'), "InvalidArgument", "sha256"),
    "too large": (replaced(b" " * (5 << 20)), "DataLoss", "larger"),
}


@pytest.mark.parametrize("what", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused(node: Node, registry: Registry, faulty: Front, tmp_path: Path, what: str) -> None:
    fault, code, says = BAD_MANIFESTS[what]
    pushed(registry, tmp_path, "bad-manifest")
    faulty.rules = [Rule("/manifests/", fault)]
    assert says in refused(node, f"{faulty.host}/bad-manifest:v1", code)


def test_a_manifest_by_digest_cannot_be_another(node: Node, registry: Registry, faulty: Front, tmp_path: Path) -> None:
    one = layer(tmp_path, tar([Entry("x", b"x")]))
    name = registry.push("by-digest", Image([one]), "v1")
    faulty.rules = [Rule("/manifests/", flipped)]
    assert "digest" in refused(node, f"{faulty.host}/by-digest@{name}", "DataLoss")


def test_nobody_answers(node: Node) -> None:
    port = harness.free_port()
    assert "does not answer" in refused(node, f"127.0.0.1:{port}/none:v1", "Unavailable")


@pytest.mark.parametrize("demand", ["basic", "bearer"])
def test_credentials(node: Node, registry: Registry, faulty: Front, tmp_path: Path, demand: str) -> None:
    pushed(registry, tmp_path, "private")
    image = f"{faulty.host}/private:v1"
    faulty.demand = demand
    assert "credentials" in refused(node, image, "Unauthenticated")
    assert "credentials" in refused(node, image, "Unauthenticated", "--creds", f"{USER}:wrong")
    node.crictl("pull", "--creds", f"{USER}:{PASSWORD}", image)
    gone(node, image)


def member(name: str, kind: bytes, link: str = "") -> bytes:
    """A tar of one entry that has the name just as it is."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info.tobuf()


def end() -> bytes:
    return bytes(1024)


HOSTILE = {
    "climbs out": (member("../x", tarfile.REGTYPE) + end(), "InvalidArgument", "'..'"),
    "climbs out later": (member("a/../../x", tarfile.REGTYPE) + end(), "InvalidArgument", "'..'"),
    "a hard link outside": (member("x", tarfile.LNKTYPE, "../../../../etc/passwd") + end(), "InvalidArgument", "'..'"),
    "a hard link to nothing": (member("x", tarfile.LNKTYPE, "/etc/passwd") + end(), "InvalidArgument", "etc/passwd"),
    "below a file": (tar([Entry("a", b"file"), Entry("a/x", b"x")]), "InvalidArgument", "no directory"),
    "links in a ring": (
        tar([Entry("a", symlink="b"), Entry("b", symlink="a"), Entry("a/x", b"x")]),
        "InvalidArgument",
        "'a'",
    ),
    "a whiteout of the folder above": (member(".wh...", tarfile.REGTYPE) + end(), "InvalidArgument", "names nothing"),
    "a cut tar": (tar([Entry("x", b"x" * 10_000)])[:5000], "DataLoss", "truncated"),
    "no tar": (b"this is no tar" * 1000, "DataLoss", "no tar"),
    "a strange type": (member("x", b"Z") + end(), "DataLoss", "type"),
    "a bomb": (tar([Entry("zeros", bytes(LIMIT * 2))]), "InvalidArgument", "max_layer_size"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_layer_is_refused(node: Node, registry: Registry, tmp_path: Path, what: str) -> None:
    data, code, says = HOSTILE[what]
    registry.push("hostile", Image([layer(tmp_path, data)]), "v1")
    assert says in refused(node, f"{registry.host}/hostile:v1", code)


def test_a_link_to_the_host_leads_into_the_layer(node: Node, registry: Registry, tmp_path: Path) -> None:
    marker = f"crb-{os.urandom(4).hex()}"
    data = tar(
        [
            Entry("a", symlink="/etc"),
            Entry(f"a/{marker}", b"in"),
            Entry("b", symlink="../../../../tmp"),
            Entry(f"b/{marker}", b"in"),
        ]
    )
    one = layer(tmp_path, data)
    registry.push("links", Image([one]), "v1")
    node.crictl("pull", f"{registry.host}/links:v1")
    unpacked = node.root / "images" / "layers" / one.diff_id[7:] / "fs"
    for folder in ("etc", "tmp"):
        assert (unpacked / folder / marker).read_bytes() == b"in"
        assert not (Path("/") / folder / marker).exists()
    assert os.readlink(unpacked / "a") == "/etc"
    gone(node, f"{registry.host}/links:v1")


def test_attributes_that_steer_the_node_are_left_out(node: Node, registry: Registry, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as out:
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        info.pax_headers = {
            "SCHILY.xattr.trusted.overlay.redirect": "/../../etc",
            "SCHILY.xattr.user.overlay.opaque": "y",
            "SCHILY.xattr.user.kept": "yes",
        }
        out.addfile(info)
    one = layer(tmp_path, stream.getvalue())
    registry.push("attributes", Image([one]), "v1")
    node.crictl("pull", f"{registry.host}/attributes:v1")
    folder = node.root / "images" / "layers" / one.diff_id[7:] / "fs" / "folder"
    assert os.listxattr(folder) == ["user.kept"]
    gone(node, f"{registry.host}/attributes:v1")


def test_a_layer_that_is_another_is_refused(node: Node, registry: Registry, tmp_path: Path) -> None:
    """The blob is what the manifest says, but not what the config promises."""
    plain = tar([Entry("x", b"x")])
    one = store(tmp_path, plain, digest(b"another"), PLAIN)
    registry.push("another", Image([one]), "v1")
    assert "config says" in refused(node, f"{registry.host}/another:v1", "DataLoss")


def test_damaged_compression(node: Node, registry: Registry, tmp_path: Path) -> None:
    plain = tar([Entry("x", os.urandom(50_000))])
    packed = gzip.compress(plain)
    for bad in (packed[:-20], packed[:1000] + b"rubbish" + packed[1007:]):
        registry.push("damaged", Image([store(tmp_path, bad, digest(plain))]), "v1")
        refused(node, f"{registry.host}/damaged:v1", "DataLoss")
