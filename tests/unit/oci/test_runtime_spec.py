"""The types say what the validator accepts."""

from cribus.oci import runtime_spec
from cribus.oci.validate import validate


def test_a_typed_document_is_a_plain_one() -> None:
    spec: runtime_spec.Spec = {
        "ociVersion": runtime_spec.VERSION,
        "root": {"path": "rootfs", "readonly": True},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}]},
    }
    assert type(spec) is dict
    validate(spec)
