"""Files of CDI: which are good, which device they describe, and who wins."""

import json
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import InvalidArgument, NotFound
from cribus.manager.cdi import specs
from cribus.manager.cdi.specs import Edits, Named

GPU = Named("vendor.com/gpu", "0")
YAML = """
cdiVersion: "1.1.0"
kind: vendor.com/gpu
containerEdits:
  env: [ALL=1]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - {path: /dev/gpu0, fileMode: 0o660, permissions: rw}
  - name: one
    annotations: {note: x}
    containerEdits:
      netDevices: [{hostInterfaceName: eth9, name: net1}]
      intelRdt: {closID: c, schemata: ["L3:0=f"], enableMonitoring: true}
"""


def _document(**changes: Any) -> dict[str, Any]:
    device = {"name": "0", "containerEdits": {"env": ["FROM=json"]}}
    return {"cdiVersion": "1.0.0", "kind": "vendor.com/gpu", "devices": [device], **changes}


def _write(directory: Path, name: str, document: object) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(document if isinstance(document, str) else json.dumps(document))


def _find(*directories: Path, wanted: list[Named] | None = None) -> list[Edits]:
    return specs.find(wanted or [GPU], tuple(map(str, directories)))


def test_yaml_and_json(tmp_path: Path) -> None:
    _write(tmp_path / "a", "gpu.yaml", YAML.replace("0o660", "0660"))
    _write(tmp_path / "a", "other.json", _document(kind="vendor.com/other"))
    _write(tmp_path / "a", "not-a-spec.txt", "{")
    one, other = Named("vendor.com/gpu", "one"), Named("vendor.com/other", "0")
    common, first, second, no_edits, third = _find(tmp_path / "a", wanted=[GPU, one, other, GPU])
    assert common.env == ["ALL=1"]  # once a file, before its first device
    assert [(node.path, node.fileMode, node.permissions) for node in first.deviceNodes] == [("/dev/gpu0", 0o660, "rw")]
    assert second.intelRdt is not None
    assert second.intelRdt.enableMonitoring
    assert [(device.hostInterfaceName, device.name) for device in second.netDevices] == [("eth9", "net1")]
    assert (no_edits, third.env) == (Edits(), ["FROM=json"])


def test_the_later_directory_wins_and_two_files_of_one_contradict(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "run"
    _write(first, "a.json", _document())
    _write(second, "a.json", _document(containerEdits={"env": ["FROM=run"]}))
    assert _find(first, second)[0].env == ["FROM=run"]
    _write(second, "b.json", _document())
    with pytest.raises(InvalidArgument, match=r"vendor.com/gpu=0 is in both .*run/a.json and .*run/b.json"):
        _find(first, second)


def test_what_is_not_there_says_what_could_not_be_read(tmp_path: Path) -> None:
    _write(tmp_path / "a", "bad.json", "{")
    with pytest.raises(NotFound, match=r"has CDI device vendor.com/gpu=0; unreadable there: .*bad.json: .*truncated"):
        _find(tmp_path / "a", tmp_path / "none")
    with pytest.raises(NotFound, match=r"has CDI device vendor.com/gpu=0$"):
        _find(tmp_path / "none")


@pytest.mark.parametrize(
    "changes",
    [
        {"cdiVersion": "9.0.0"},
        {"kind": "gpu"},
        {"kind": "-vendor/gpu"},
        {"devices": []},
        {"devices": [_document()["devices"][0]] * 2},
        {"devices": [{"name": "0", "containerEdits": {}}]},
        {"devices": [{"name": "-0", "containerEdits": {"env": ["A=b"]}}]},
        {"surprise": 1},
        {"containerEdits": {"env": ["A"]}},
        {"containerEdits": {"env": ["=b"]}},
        {"containerEdits": {"deviceNodes": [{"path": "dev"}]}},
        {"containerEdits": {"deviceNodes": [{"path": "/dev/x", "type": "z"}]}},
        {"containerEdits": {"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}},
        {"containerEdits": {"mounts": [{"hostPath": "", "containerPath": "/x"}]}},
        {"containerEdits": {"mounts": [{"hostPath": "/x", "containerPath": "x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "never", "path": "/x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "poststop", "path": "x"}]}},
        {"containerEdits": {"additionalGids": [-1]}},
    ],
)
def test_a_file_with_a_fault_is_not_used(tmp_path: Path, changes: dict[str, Any]) -> None:
    _write(tmp_path / "a", "x.json", _document(**changes))
    with pytest.raises(NotFound, match="unreadable there"):
        _find(tmp_path / "a")


def test_yaml_that_is_none(tmp_path: Path) -> None:
    _write(tmp_path / "a", "x.yml", "a: [")
    with pytest.raises(NotFound, match="unreadable there"):
        _find(tmp_path / "a")


@pytest.mark.parametrize("name", ["vendor.com/gpu=0", "v/c=all:1.x_y", "nvidia.com/gpu=GPU-1:2"])
def test_good_names(name: str) -> None:
    kind, device = specs.named(name)
    assert f"{kind}={device}" == name


@pytest.mark.parametrize("name", ["", "gpu", "vendor.com/gpu", "vendor.com=0", "v/c=", "v/c=a/b", "1v/c=a", "v/c=a:"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is no name of a CDI device"):
        specs.named(name)
