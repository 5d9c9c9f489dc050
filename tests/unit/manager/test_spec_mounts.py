"""Mounts in the order in which they are made."""

from typing import Any

import msgspec
import pytest
from cribus.api.cri.container import Mount
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import MountPropagation
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager.host import Host
from cribus.manager.spec_mounts import mounts, root_propagation
from cribus.manager.wanted import Sources

from tests.unit.manager.test_spec_build import wanted

FILES = {"/etc/hosts": "/run/p/hosts", "/dev/shm": "/run/p/shm"}


def by_destination(made: list[Any]) -> dict[str, Any]:
    return {mount["destination"]: mount for mount in made}


def test_the_root_is_first_and_the_usual_ones_follow() -> None:
    made = mounts(wanted(sources=Sources(pod_files=FILES)))
    assert made[0] == {
        "destination": "/",
        "type": "overlay",
        "source": "overlay",
        "options": ["lowerdir=/l/2:/l/1", "upperdir=/u", "workdir=/w"],
    }
    assert [mount["destination"] for mount in made[1:]] == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
        "/etc/hosts",
        "/dev/shm",
    ]
    known = by_destination(made)
    assert "ro" in known["/sys"]["options"]
    assert "ro" in known["/sys/fs/cgroup"]["options"]
    assert known["/etc/hosts"]["options"] == ["rbind", "rprivate", "rw"]


def test_privileged_writes_to_sys() -> None:
    known = by_destination(mounts(wanted(LinuxContainerSecurityContext(privileged=True))))
    assert "rw" in known["/sys"]["options"]
    assert "rw" in known["/sys/fs/cgroup"]["options"]


def test_a_read_only_root_makes_the_pods_files_so() -> None:
    one = wanted(LinuxContainerSecurityContext(readonly_rootfs=True), sources=Sources(pod_files=FILES))
    known = by_destination(mounts(one))
    assert "ro" in known["/etc/hosts"]["options"]
    assert "rw" in known["/dev/shm"]["options"]


def test_a_users_mount_replaces_the_usual_one_and_deeper_ones_come_later() -> None:
    asked = [
        Mount(container_path="/data/deep/er", host_path="/h/2"),
        Mount(container_path="/data", host_path="/h/1", readonly=True),
        Mount(container_path="/dev", host_path="/h/dev"),
    ]
    made = mounts(wanted(mounts=asked, sources=Sources(paths={"/h/1": "/real/1"}, pod_files={})))
    names = [mount["destination"] for mount in made]
    assert names == ["/", "/proc", "/sys", "/sys/fs/cgroup", "/data", "/dev", "/data/deep/er"]
    assert by_destination(made)["/data"] == {
        "destination": "/data",
        "type": "bind",
        "source": "/real/1",
        "options": ["rbind", "rprivate", "ro"],
    }


@pytest.mark.parametrize(
    ("propagation", "option", "root"),
    [
        (MountPropagation.PROPAGATION_PRIVATE, "rprivate", ""),
        (MountPropagation.PROPAGATION_HOST_TO_CONTAINER, "rslave", "rslave"),
        (MountPropagation.PROPAGATION_BIDIRECTIONAL, "rshared", "rshared"),
    ],
)
def test_propagation(propagation: MountPropagation, option: str, root: str) -> None:
    one = wanted(mounts=[Mount(container_path="/m", host_path="/h", propagation=propagation)])
    assert option in mounts(one)[-1]["options"]
    assert root_propagation(one) == root


def test_recursive_read_only() -> None:
    good = Mount(container_path="/m", host_path="/h", readonly=True, recursive_read_only=True)
    assert "rro" in mounts(wanted(mounts=[good]))[-1]["options"]
    with pytest.raises(FailedPrecondition):
        mounts(wanted(mounts=[good], host=Host(recursive_readonly=False)))
    for change in ({"readonly": False}, {"propagation": MountPropagation.PROPAGATION_BIDIRECTIONAL}):
        with pytest.raises(InvalidArgument):
            mounts(wanted(mounts=[msgspec.structs.replace(good, **change)]))


def test_images_as_volumes() -> None:
    asked = [
        Mount(container_path="/one", image=ImageSpec(image="i"), readonly=True),
        Mount(container_path="/two", image=ImageSpec(image="i"), readonly=True),
    ]
    layers = {"/one": ["/l/1"], "/two": ["/l/2", "/l/1"]}
    known = by_destination(mounts(wanted(mounts=asked, sources=Sources(image_volumes=layers))))
    assert (known["/one"]["type"], known["/one"]["options"]) == ("bind", ["rbind", "rprivate", "ro"])
    assert (known["/two"]["type"], known["/two"]["options"]) == ("overlay", ["ro", "lowerdir=/l/2:/l/1"])


def test_an_images_names_are_no_more_than_names_and_options_count_for_images_too() -> None:
    image = ImageSpec(image="i")
    asked = [
        Mount(container_path=path, image=image, readonly=True, mount_options=["noexec"]) for path in ("/one", "/two")
    ]
    layers = {"/one": ["/l/1/a:/etc"], "/two": ["/l/2/a:/etc,b", "/l/1/c\\"]}
    known = by_destination(mounts(wanted(mounts=asked, sources=Sources(image_volumes=layers))))
    assert (known["/one"]["source"], known["/one"]["options"][-1]) == ("/l/1/a:/etc", "noexec")
    assert known["/two"]["options"] == ["ro", "noexec", r"lowerdir=/l/2/a\:/etc\,b:/l/1/c\\"]


def test_volumes_that_the_image_declares() -> None:
    prepared = msgspec.structs.replace(wanted().prepared, config={"Volumes": {"/data": {}, "/taken": {}}})
    one = wanted(
        prepared=prepared,
        volumes_dir="/vols/c",
        mounts=[Mount(container_path="/taken/", host_path="/h")],
    )
    known = by_destination(mounts(one))
    assert known["/data"]["source"] == "/vols/c/0"
    assert known["/taken/"]["source"] == "/h"
