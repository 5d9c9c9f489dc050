"""CDI's edits in a runtime-spec."""

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cribus.api.cri.container import CDIDevice, ContainerConfig
from cribus.errors import InvalidArgument, NotFound
from cribus.manager.cdi import edits, specs
from cribus.oci.runtime_spec import Spec

SPEC: Spec = {
    "process": {"env": ["PATH=/bin", "MODE=old"], "user": {"uid": 1000, "gid": 2000, "additionalGids": [5]}},
    "mounts": [
        {"destination": "/", "type": "overlay"},
        {"destination": "/dev", "type": "tmpfs"},
        {"destination": "/data/deep", "type": "bind"},
    ],
    "linux": {"devices": [{"path": "/dev/zero0", "type": "c", "major": 9, "minor": 9}], "resources": {}},
}


def _inject(tmp_path: Path, *names: str, **container_edits: Any) -> Any:
    device = {"name": "a", "containerEdits": container_edits or {"env": ["A=1"]}}
    document = {"cdiVersion": "1.1.0", "kind": "v.com/c", "devices": [device]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    before = json.dumps(SPEC)
    made = asyncio.run(edits.inject(SPEC, list(names or ("v.com/c=a",)), (str(tmp_path),)))
    assert json.dumps(SPEC) == before
    return made


def test_asked_by_field_and_by_annotation_each_once() -> None:
    config = ContainerConfig(
        CDI_devices=[CDIDevice(name="v/c=a")],
        annotations={"cdi.k8s.io/plugin_1": "v/c=a,v/c=b", "cdi.k8s.io/another": "v/c=c", "other": "v/c=d"},
    )
    assert edits.asked(config) == ["v/c=a", "v/c=c", "v/c=b"]
    assert edits.asked(ContainerConfig()) == []


def test_nothing_asked_is_the_very_spec() -> None:
    assert asyncio.run(edits.inject(SPEC, [])) is SPEC


def test_environment_and_groups(tmp_path: Path) -> None:
    process = _inject(tmp_path, env=["MODE=new", "MORE=1"], additionalGids=[5, 0, 44])["process"]
    assert process["env"] == ["PATH=/bin", "MODE=new", "MORE=1"]
    assert process["user"]["additionalGids"] == [5, 44]


def test_a_device_of_the_host(tmp_path: Path) -> None:
    nodes = [{"path": "/dev/zero0", "hostPath": "/dev/zero", "permissions": "r"}, {"path": "/dev/null"}]
    linux = _inject(tmp_path, deviceNodes=nodes)["linux"]
    zero, null = os.stat("/dev/zero"), os.stat("/dev/null")
    assert linux["devices"] == [
        {"path": path, "type": "c", "major": 1, "minor": minor, "uid": 1000, "gid": 2000, "fileMode": mode}
        for path, minor, mode in (
            ("/dev/zero0", 5, stat.S_IMODE(zero.st_mode)),
            ("/dev/null", 3, stat.S_IMODE(null.st_mode)),
        )
    ]
    rules = linux["resources"]["devices"]
    assert [(rule["minor"], rule["access"], rule["allow"]) for rule in rules] == [(5, "r", True), (3, "rwm", True)]


def test_a_device_by_its_numbers_need_not_be_there(tmp_path: Path) -> None:
    node = {"path": "/dev/x", "type": "b", "major": 8, "minor": 1, "uid": 0, "gid": 7, "fileMode": 0o600}
    linux = _inject(tmp_path, deviceNodes=[node, {"path": "/dev/pipe", "type": "p"}])["linux"]
    assert linux["devices"][1] == node
    assert len(linux["resources"]["devices"]) == 1  # a pipe needs no right


@pytest.mark.parametrize("node", [{"path": "/dev/none-such"}, {"path": "/etc"}, {"path": "/dev/null", "type": "b"}])
def test_a_device_that_is_none(tmp_path: Path, node: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="CDI device node"):
        _inject(tmp_path, deviceNodes=[node])


def test_mounts_lie_below_what_they_are_in(tmp_path: Path) -> None:
    given = [
        {"hostPath": "/a", "containerPath": "/data", "options": ["ro", "bind"]},
        {"hostPath": "/b", "containerPath": "/data/deep/"},
        {"hostPath": "tmpfs", "containerPath": "/dev/more", "type": "tmpfs"},
    ]
    found = _inject(tmp_path, mounts=given)["mounts"]
    assert [one["destination"] for one in found] == ["/", "/dev", "/data", "/data/deep/", "/dev/more"]
    assert found[2] == {"destination": "/data", "source": "/a", "type": "bind", "options": ["ro", "bind"]}
    assert (found[3]["source"], found[3]["options"]) == ("/b", ["rbind"])
    assert (found[4]["type"], found[4]["options"]) == ("tmpfs", [])


def test_what_the_runtime_does(tmp_path: Path) -> None:
    made = _inject(
        tmp_path,
        hooks=[{"hookName": "createContainer", "path": "/h", "args": ["h", "x"], "timeout": 3}],
        netDevices=[{"hostInterfaceName": "eth9", "name": "net1"}],
        intelRdt={"closID": "c", "enableMonitoring": True},
    )
    assert made["hooks"] == {"createContainer": [{"path": "/h", "args": ["h", "x"], "timeout": 3}]}
    assert made["linux"]["netDevices"] == {"eth9": {"name": "net1"}}
    assert made["linux"]["intelRdt"] == {"closID": "c", "enableMonitoring": True}


def test_a_name_that_is_none_and_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        _inject(tmp_path, "nonsense")
    with pytest.raises(NotFound):
        _inject(tmp_path, "v.com/c=b")
    assert specs.DIRECTORIES == ("/etc/cdi", "/var/run/cdi")
