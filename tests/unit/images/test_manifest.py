"""Which manifest fits, what an image is made of, and what is refused."""

import json
from typing import Any

import pytest
from cribus.errors import InvalidArgument, NotFound
from cribus.images import manifest
from cribus.oci import image_spec

D = ["sha256:" + digit * 64 for digit in "123456"]


def index(*platforms: dict[str, str] | None) -> dict[str, Any]:
    return {
        "manifests": [
            {"digest": digest, **({"platform": one} if one is not None else {})}
            for digest, one in zip(D, platforms, strict=False)
        ]
    }


def linux(architecture: str, variant: str = "") -> dict[str, str]:
    return {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}


@pytest.mark.parametrize(
    ("platforms", "machine", "found"),
    [
        ((linux("arm64"), linux("amd64")), "x86_64", 1),
        (({"os": "windows", "architecture": "amd64"}, linux("amd64")), "x86_64", 1),
        ((linux("arm", "v6"), linux("arm", "v7")), "armv7l", 1),
        ((linux("arm", "v6"), linux("arm64", "v8")), "armv7l", 0),
        ((linux("amd64", "v3"), linux("amd64")), "x86_64", 1),
        ((linux("arm64", "v8"), None), "aarch64", 0),
        ((None,), "x86_64", 0),
    ],
)
def test_chosen(platforms: tuple[Any, ...], machine: str, found: int) -> None:
    assert manifest.chosen(index(*platforms), machine) == D[found]


def test_none_fits() -> None:
    with pytest.raises(NotFound, match="linux/s390x"):
        manifest.chosen(index(linux("s390x")), "x86_64")


def test_kinds() -> None:
    assert manifest.is_index({}, image_spec.DOCKER_LIST)
    assert manifest.is_index({"manifests": []})
    assert not manifest.is_index({"mediaType": image_spec.MANIFEST, "manifests": []})


def made(**changes: Any) -> tuple[bytes, bytes]:
    body = {"config": {"digest": D[0]}, "layers": [{"digest": D[1], "size": 5, "mediaType": image_spec.LAYER_GZIP}]}
    return json.dumps({**body, **changes}).encode(), json.dumps({"rootfs": {"diff_ids": [D[2]]}}).encode()


def test_an_image() -> None:
    data, config = made()
    image = manifest.image(data, D[3], config)
    assert (image.id, image.manifest, image.size) == (D[0], D[3], len(data) + len(config) + 5)
    assert [(one.digest, one.diff_id) for one in image.layers] == [(D[1], D[2])]


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": {"digest": "sha256:1"}},
        {"layers": []},
        {"layers": 7},
        {"layers": [7]},
        {"layers": [{"digest": "../x"}]},
        {"layers": [{"digest": D[1], "size": -1}]},
        {"layers": [{"digest": D[1], "size": "5"}]},
        {"layers": [{"digest": D[1], "mediaType": "x.foreign.diff", "urls": ["http://x"]}]},
        {"layers": [{"digest": D[1], "mediaType": "x+encrypted"}]},
    ],
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        manifest.image(*(lambda pair: (pair[0], D[3], pair[1]))(made(**changes)))


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{"])
def test_no_document(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="the manifest"):
        manifest.document(data, "the manifest")
