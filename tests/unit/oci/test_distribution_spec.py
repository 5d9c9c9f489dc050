"""Paths of the distribution-spec."""

from cribus.oci import distribution_spec


def test_paths() -> None:
    assert distribution_spec.manifest("a/b", "v1") == "/v2/a/b/manifests/v1"
    assert distribution_spec.blob("a", "sha256:1") == "/v2/a/blobs/sha256:1"
