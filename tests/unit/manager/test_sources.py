"""What is looked up on the host before a spec is built."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus.api import images
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.security import LinuxContainerSecurityContext, NamespaceOption, SecurityProfile
from cribus.api.cri.values import MountPropagation, NamespaceMode, ProfileType
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from cribus.manager import sources
from cribus.manager.records import Container, Sandbox, State
from cribus.manager.wanted import Sources

from tests.unit.manager.conftest import IMAGE, Run, World, container_config

POD = Sandbox(id="p" * 64, state=State.READY)


def gathered(world: World, run: Run, context: LinuxContainerSecurityContext | None = None, **more: Any) -> Sources:
    config = container_config("x", linux=c.LinuxContainerConfig(security_context=context), **more)
    found: Sources = run(sources.gather(world.node, Container(id="c" * 64, pod=POD.id, config=config), POD))
    return found


def test_mount_sources_are_made_and_resolved(world: World, run: Run, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    missing = f"{tmp_path}/new/deep"
    asked = [
        c.Mount(container_path="/a", host_path=f"{tmp_path}/link"),
        c.Mount(container_path="/b", host_path=missing),
    ]
    paths = gathered(world, run, mounts=asked).paths
    assert paths == {f"{tmp_path}/link": f"{tmp_path}/real", missing: missing}
    assert (tmp_path / "new/deep").is_dir()


def test_a_source_that_cannot_be_made(world: World, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="/m: host_path"):
        gathered(world, run, mounts=[c.Mount(container_path="/m", host_path=f"{tmp_path}/file/x")])


def test_propagation_needs_a_shared_mount(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_mounts", lambda: [["1", "0", "0:1", "/", "/", "rw"], _shared("/tmp")])
    both = MountPropagation.PROPAGATION_BIDIRECTIONAL
    with pytest.raises(FailedPrecondition, match="make-rshared"):
        gathered(world, run, mounts=[c.Mount(container_path="/m", host_path="/proc", propagation=both)])
    gathered(world, run, mounts=[c.Mount(container_path="/m", host_path="/tmp", propagation=both)])


def _shared(path: str) -> list[str]:
    return ["2", "1", "0:2", "/", path, "rw", "shared:5"]


def test_devices(world: World, run: Run, tmp_path: Path) -> None:
    found = gathered(world, run, devices=[c.Device(host_path="/dev/null", container_path="/dev/zilch")])
    assert [(one["path"], one["major"]) for one in found.devices] == [("/dev/zilch", 1)]
    assert found.device_access == ["rwm"]
    for path in (f"{tmp_path}/none", "/etc/hostname"):
        with pytest.raises(InvalidArgument, match="device"):
            gathered(world, run, devices=[c.Device(host_path=path)])


def test_privileged_gets_the_hosts_devices(world: World, run: Run) -> None:
    found = gathered(world, run, LinuxContainerSecurityContext(privileged=True))
    assert any(one["path"] == "/dev/null" for one in found.host_devices)


def local(path: Path) -> LinuxContainerSecurityContext:
    profile = SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref=str(path))
    return LinuxContainerSecurityContext(seccomp=profile)


def test_a_local_seccomp_profile(world: World, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(InvalidArgument, match="does not exist"):
        gathered(world, run, local(path))
    for wrong in ("{", "{}", "[]"):
        path.write_text(wrong)
        with pytest.raises(InvalidArgument, match="seccomp profile"):
            gathered(world, run, local(path))
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    assert gathered(world, run, local(path)).seccomp == {"defaultAction": "SCMP_ACT_ALLOW"}


def test_a_local_profile_without_a_name(world: World, run: Run) -> None:
    """It is not none that was asked for."""
    world.node.host = msgspec.structs.replace(world.node.host, apparmor=True)
    world.node.apparmor = Profiles("ours")  # type: ignore[assignment]
    for name in ("", "localhost/"):
        profile = SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref=name)
        with pytest.raises(InvalidArgument, match="seccomp profile is of type Localhost"):
            gathered(world, run, LinuxContainerSecurityContext(seccomp=profile))
        with pytest.raises(InvalidArgument, match="AppArmor profile is of type Localhost"):
            gathered(world, run, LinuxContainerSecurityContext(apparmor=profile))


def test_target_of_a_pid_namespace(world: World, run: Run) -> None:
    def context(id: str) -> LinuxContainerSecurityContext:
        return LinuxContainerSecurityContext(namespace_options=NamespaceOption(pid=NamespaceMode.TARGET, target_id=id))

    known = (
        Container(id="t1", pod=POD.id, state=State.RUNNING, pid=77),
        Container(id="u1", pod=POD.id, state=State.EXITED),
        Container(id="v1", pod="q", state=State.RUNNING),
    )
    for record in known:
        run(world.node.records.put(record))
    assert gathered(world, run, context("t1")).target_pid == 77
    for id, error in (("u1", FailedPrecondition), ("v1", InvalidArgument), ("w1", NotFound)):
        with pytest.raises(error):
            gathered(world, run, context(id))


def test_files_of_the_pod_unless_the_user_mounts_them(world: World, run: Run, tmp_path: Path) -> None:
    folder = world.node.pod_dir(POD.id)
    assert gathered(world, run).pod_files == {
        "/etc/hostname": f"{folder}/hostname",
        "/etc/hosts": f"{folder}/hosts",
        "/etc/resolv.conf": f"{folder}/resolv.conf",
        "/dev/shm": f"{folder}/shm",
    }
    own = gathered(world, run, mounts=[c.Mount(container_path="/etc/hosts/", host_path=str(tmp_path))])
    assert "/etc/hosts" not in own.pod_files


def test_image_volumes(world: World, run: Run) -> None:
    def volume(sub: str = "", **more: Any) -> list[c.Mount]:
        image = ImageSpec(image=IMAGE)
        return [c.Mount(**{"container_path": "/v", "image": image, "readonly": True, "image_sub_path": sub, **more})]

    assert gathered(world, run, mounts=volume()).image_volumes == {"/v": [f"{world.base}/layer"]}
    assert gathered(world, run, mounts=volume("sub")).image_volumes == {"/v": [f"{world.base}/layer/sub"]}
    with pytest.raises(NotFound, match=r"mount /v: image .* has no directory none"):
        gathered(world, run, mounts=volume("none"))
    with pytest.raises(InvalidArgument):
        gathered(world, run, mounts=volume(readonly=False))


def test_an_image_service_that_knows_no_part_of_an_image_is_not_believed(world: World, run: Run) -> None:
    """For a moment of an upgrade an older one answers: it gives the whole image, and says nothing."""
    world.answers["images.prepare"] = lambda request: images.Prepared(lower=["/whole"])
    mounts = [c.Mount(container_path="/v", image=ImageSpec(image=IMAGE), readonly=True)]
    assert gathered(world, run, mounts=mounts).image_volumes == {"/v": ["/whole"]}
    part = [msgspec.structs.replace(mounts[0], image_sub_path="sub")]
    with pytest.raises(Unavailable, match=r"mount /v: .* repeat"):
        gathered(world, run, mounts=part)


class Profiles:
    """manager/apparmor.py, with `theirs` loaded; ours can be or not."""

    def __init__(self, ours: str) -> None:
        self._ours = ours

    async def default(self) -> str:
        if not self._ours:
            raise FailedPrecondition("cannot be loaded")
        return self._ours

    async def default_or_none(self) -> str:
        return self._ours

    def has(self, name: str) -> bool:
        return name == "theirs"


def _confined(kind: ProfileType, name: str = "") -> LinuxContainerSecurityContext:
    return LinuxContainerSecurityContext(apparmor=SecurityProfile(profile_type=kind, localhost_ref=name))


def test_apparmor(world: World, run: Run) -> None:
    nobody = LinuxContainerSecurityContext()
    by_default = _confined(ProfileType.RuntimeDefault)
    assert gathered(world, run, by_default).apparmor == ""  # a host without it
    world.node.host = msgspec.structs.replace(world.node.host, apparmor=True)
    world.node.apparmor = Profiles("ours")  # type: ignore[assignment]
    assert gathered(world, run, nobody).apparmor == gathered(world, run, by_default).apparmor == "ours"
    assert gathered(world, run, _confined(ProfileType.Unconfined)).apparmor == ""
    assert gathered(world, run, _confined(ProfileType.Localhost, "theirs")).apparmor == ""
    with pytest.raises(FailedPrecondition, match="nobodys is not loaded"):
        gathered(world, run, _confined(ProfileType.Localhost, "nobodys"))
    world.node.apparmor = Profiles("")  # type: ignore[assignment]
    assert gathered(world, run, nobody).apparmor == ""
    with pytest.raises(FailedPrecondition, match="cannot be loaded"):
        gathered(world, run, by_default)


def test_names_of_image_volumes_are_like_ids() -> None:
    mounts = [c.Mount(image=ImageSpec(image="i")), c.Mount(), c.Mount(image=ImageSpec(image="j"))]
    names = sources.volume_names(Container(id="c" * 64, pod="p", config=container_config("x", mounts=mounts)))
    assert names == ["0000" + "c" * 60, "0001" + "c" * 60]


def test_bytes_that_are_no_text_come_out_as_they_were() -> None:
    spec = json.loads(sources.encode({"process": {"env": ["A=\udcff"]}}))
    assert spec["process"]["env"][0].encode(errors="surrogateescape") == b"A=\xff"


def test_encode() -> None:
    assert json.loads(sources.encode({"ociVersion": "1.3.0"})) == {"ociVersion": "1.3.0"}
