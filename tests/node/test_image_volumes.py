"""Images as volumes: what a container sees in them is what the image has, be it of one layer or of many."""

from pathlib import Path
from typing import Any

import pytest
from cribus.images import starter

from tests.cri import Cri, Pod
from tests.harness import IMAGE, Node, run
from tests.registry import Entry, tar

MANY = "localhost/many-layers:1"
BUSYBOX = {"image": {"image": IMAGE}, "readonly": True}
LAYERED = {"image": {"image": MANY}, "readonly": True}
_EXTRA = 60  # more layers than mount(2)'s 4096 bytes of options can name
_LONG = "long/" + "n" * 250  # fsconfig(2) takes 255 bytes


@pytest.fixture
def layered(clean: Node, tmp_path: Path) -> None:
    """An image whose layers take away, cover and link what others have, and with names that are hard to mount."""
    low = [
        Entry("data/kept", b"low"),
        Entry("data/gone/x", b"low"),
        Entry("data/covered/x", b"low"),
        Entry("odd/a:b,c\\d/x", b"low"),
        Entry(f"{_LONG}/x", b"low"),
        Entry("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
    ]
    high = [
        Entry("data/more", b"high"),
        Entry("data/.wh.gone"),
        Entry("data/covered/.wh..wh..opq"),
        Entry("data/covered/y", b"high"),
        Entry("odd/a:b,c\\d/y", b"high"),
        Entry(f"{_LONG}/y", b"high"),
        Entry("current", symlink="/data"),
    ]
    more = [[Entry(f"many/{number}", b"x")] for number in range(_EXTRA)]
    layers = [starter.pack(tar(entries)) for entries in (low, high, *more)]
    starter.write_layout(f"{tmp_path}/image.tar", layers, {}, MANY)
    clean.cribus("load", f"{tmp_path}/image.tar")


def _fails(pod: Pod, box: str, command: str) -> str:
    answer = pod.cri.call("ExecSync", container_id=box, cmd=["sh", "-c", command], timeout=20)
    assert answer.exit_code != 0, command
    return str(answer.stderr.decode())


def test_whole_and_a_part_of_it(cri: Cri) -> None:
    pod = cri.pod()
    part = {**BUSYBOX, "container_path": "/part", "image_sub_path": "bin"}
    box = pod.running(mounts=[{**BUSYBOX, "container_path": "/whole"}, part])
    pod.says(box, "cmp", "/whole/bin/busybox", "/part/busybox")
    assert "Read-only" in _fails(pod, box, "touch /part/x")
    told = {one.container_path: one for one in cri.call("ContainerStatus", container_id=box).status.mounts}
    assert told["/part"].image.image_ref == cri.call("ImageStatus", image={"image": IMAGE}).image.id
    for path, code in (("none", "NOT_FOUND"), ("bin/busybox", "NOT_FOUND"), ("../etc", "INVALID_ARGUMENT")):
        assert pod.refused(mounts=[{**part, "image_sub_path": path}])[0] == code


@pytest.mark.usefixtures("layered")
def test_layers_are_seen_as_the_image_has_them(cri: Cri) -> None:
    pod = cri.pod()
    parts = {"/data": "data", "/link": "current", "/covered": "current/covered", "/odd": "odd/a:b,c\\d", "/long": _LONG}
    mounts: list[dict[str, Any]] = [
        {**LAYERED, "container_path": path, "image_sub_path": part} for path, part in parts.items()
    ]
    box = pod.running(mounts=[*mounts, {**LAYERED, "container_path": "/whole"}])
    for path in ("/data", "/link", "/whole/data"):
        assert pod.says(box, "ls", path).split() == ["covered", "kept", "more"]
    assert pod.says(box, "ls", "/covered").split() == ["y"]
    for path in ("/odd", "/long"):
        assert pod.says(box, "ls", path).split() == ["x", "y"]
    assert len(pod.says(box, "ls", "/whole/many").split()) == _EXTRA
    assert pod.refused(mounts=[{**mounts[0], "image_sub_path": "data/gone"}])[0] == "NOT_FOUND"
    assert "Read-only" in _fails(pod, box, "touch /data/x")


@pytest.mark.usefixtures("layered")
def test_mount_options_count(cri: Cri) -> None:
    pod = cri.pod()
    plain = {**LAYERED, "container_path": "/plain"}
    box = pod.running(mounts=[plain, {**plain, "container_path": "/noexec", "mount_options": ["noexec"]}])
    pod.says(box, "/plain/bin/busybox", "true")
    assert "Permission denied" in _fails(pod, box, "/noexec/bin/busybox true")
    assert pod.refused(mounts=[{**plain, "mount_options": ["lowerdir=/etc"]}])[0] == "INVALID_ARGUMENT"


@pytest.mark.usefixtures("layered")
def test_a_user_namespace_sees_the_owners_of_the_image(cri: Cri) -> None:
    ids = [{"host_id": 300_000, "container_id": 0, "length": 65_536}]
    linux = {"security_context": {"namespace_options": {"userns_options": {"mode": "POD", "uids": ids, "gids": ids}}}}
    pod = cri.pod(linux=linux)
    mounts = [
        {**LAYERED, "container_path": "/whole"},
        {**LAYERED, "container_path": "/part", "image_sub_path": "data"},
        {**BUSYBOX, "container_path": "/own"},  # of the very layers that the container runs on
    ]
    box = pod.running(mounts=mounts, linux=linux)
    paths = ["/whole/data/kept", "/whole/many/7", "/part/more", "/own/bin/busybox", "/bin/busybox"]
    assert pod.says(box, "stat", "-c", "%u:%g", *paths).split() == ["0:0"] * len(paths)
    same = pod.running("/bin/busybox", "sleep", "1000", mounts=mounts[:2], linux=linux, image=LAYERED["image"])
    assert (
        pod.says(same, "/bin/busybox", "stat", "-c", "%u:%g", "/whole/data/kept", "/part/more").split() == ["0:0"] * 2
    )
    assert run("stat", "-c", "%u", f"/proc/{_pid(cri, same)}").stdout.strip() == "300000"


def _pid(cri: Cri, box: str) -> int:
    return int(cri.node.json("inspect", box)["info"]["pid"])
