"""CDI devices in real containers: what a vendor's file says is there, whoever asks for it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cri import Cri
from tests.harness import Node

DIRECTORY = Path("/var/run/cdi")


@pytest.fixture
def kind(clean: Node, tmp_path: Path) -> Iterator[str]:
    """A vendor's file, in YAML as they write it; and what it shows of the host."""
    vendor = f"{clean.tag}.test"
    (tmp_path / "library").write_text("of the vendor")
    made = not DIRECTORY.exists()
    DIRECTORY.mkdir(exist_ok=True)
    file = DIRECTORY / f"{clean.tag}.yaml"
    file.write_text(f"""
cdiVersion: "1.0.0"
kind: {vendor}/thing
containerEdits:
  env: ["VENDOR=yes"]
devices:
  - name: zero
    containerEdits:
      deviceNodes: [{{path: /dev/vendor0, hostPath: /dev/fuse, permissions: r}}]
      additionalGids: [4242]
  - name: files
    containerEdits:
      mounts: [{{hostPath: {tmp_path}, containerPath: /opt/vendor, options: [ro, nosuid, nodev, bind]}}]
""")
    yield f"{vendor}/thing"
    file.unlink()
    if made:
        DIRECTORY.rmdir()


def test_by_field_and_by_annotation(cri: Cri, kind: str) -> None:
    pod = cri.pod()
    box = pod.running(
        CDI_devices=[{"name": f"{kind}=zero"}], annotations={"cdi.k8s.io/test_1": f"{kind}=zero,{kind}=files"}
    )
    assert pod.says(box, "sh", "-c", "exec 3</dev/vendor0; cat /opt/vendor/library; echo $VENDOR") == (
        "of the vendoryes\n"
    )
    assert "4242" in pod.says(box, "id", "-G").split()
    for wrong in ("exec 3>/dev/vendor0", "touch /opt/vendor/x"):  # readable, and a mount that is read-only
        answer = cri.call("ExecSync", container_id=box, cmd=["sh", "-c", wrong], timeout=10)
        assert answer.exit_code != 0


def test_nobody_gets_what_he_did_not_ask_for(cri: Cri, kind: str) -> None:
    pod = cri.pod()
    box = pod.running(annotations={"note": f"{kind}=zero"})
    assert pod.says(box, "sh", "-c", "ls /dev/vendor0 /opt/vendor 2>/dev/null; echo -$VENDOR-") == "--\n"


def test_what_is_not_there_is_refused_and_leaves_nothing(cri: Cri, kind: str) -> None:
    pod = cri.pod()
    code, text = pod.refused(CDI_devices=[{"name": f"{kind}=none"}])
    assert code == "NOT_FOUND"
    assert f"{kind}=none" in text
    assert pod.refused(CDI_devices=[{"name": "nonsense"}])[0] == "INVALID_ARGUMENT"
    other = DIRECTORY / f"{cri.node.tag}-other.json"
    other.write_text(
        json.dumps(
            {"cdiVersion": "1.0.0", "kind": kind, "devices": [{"name": "zero", "containerEdits": {"env": ["A=b"]}}]}
        )
    )
    try:
        assert "both" in pod.refused(CDI_devices=[{"name": f"{kind}=zero"}])[1]
    finally:
        os.unlink(other)
