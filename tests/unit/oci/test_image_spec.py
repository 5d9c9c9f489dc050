"""The media types that manifests are told apart by."""

from cribus.oci import image_spec


def test_kinds_do_not_overlap() -> None:
    assert not set(image_spec.INDEXES) & set(image_spec.MANIFESTS)
    assert image_spec.LAYER_GZIP.startswith(image_spec.LAYER)
