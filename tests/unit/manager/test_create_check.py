"""A configuration that cannot be is refused with a sentence."""

from typing import Any

import msgspec
import pytest
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import LinuxPodSandboxConfig, PodSandboxConfig
from cribus.api.cri.security import LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceOption
from cribus.api.cri.values import NamespaceMode
from cribus.errors import CribusError, InvalidArgument
from cribus.manager.create_check import check, check_against_pod
from cribus.manager.records import Sandbox

from tests.unit.manager.conftest import container_config

M = c.Mount
WRONG: dict[str, dict[str, Any]] = {
    "working_dir 'tmp'": {"working_dir": "tmp"},
    "must be relative, below": {"log_path": "/var/log/x"},
    "log_path '../x' must": {"log_path": "../x"},
    "envs: 'A=B'": {"envs": [c.KeyValue(key="A=B")]},
    "two mounts have the container_path /a": {
        "mounts": [M(container_path="/a", host_path="/x"), M(container_path="/a/", host_path="/y")]
    },
    "container_path must be absolute": {"mounts": [M(container_path="a", host_path="/x")]},
    "and not the root": {"mounts": [M(container_path="/", host_path="/x")]},
    "host_path 'x' is not an absolute": {"mounts": [M(container_path="/a", host_path="x")]},
    "both host_path and image": {"mounts": [M(container_path="/a", host_path="/x", image=ImageSpec(image="i"))]},
    "must stay in the image": {"mounts": [M(container_path="/a", image=ImageSpec(image="i"), image_sub_path="../x")]},
    "permissions of r, w, m": {"devices": [c.Device(host_path="/dev/null", permissions="x")]},
    "stdin_once without stdin": {"stdin_once": True},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_refused(sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(container_config("x", **WRONG[sentence]))
    assert sentence in caught.value.message


def test_a_cdi_device_has_a_whole_name() -> None:
    with pytest.raises(InvalidArgument, match="is no name of a CDI device"):
        check(container_config("x", CDI_devices=[c.CDIDevice(name="gpu")]))


def test_a_good_one_passes() -> None:
    assert check(container_config("x", mounts=[M(container_path="/a", host_path="/x")])).name == "x"


def _pod(modes: NamespaceOption, privileged: bool = False) -> Sandbox:
    context = LinuxSandboxSecurityContext(namespace_options=modes, privileged=privileged)
    return Sandbox(id="p", config=PodSandboxConfig(linux=LinuxPodSandboxConfig(security_context=context)))


def _config(context: LinuxContainerSecurityContext) -> c.ContainerConfig:
    return container_config("x", linux=c.LinuxContainerConfig(security_context=context))


def test_against_the_pod() -> None:
    config = _config(LinuxContainerSecurityContext(namespace_options=NamespaceOption(network=NamespaceMode.NODE)))
    with pytest.raises(CribusError, match="namespace of its own"):
        check_against_pod(config, _pod(NamespaceOption()))
    check_against_pod(container_config("x"), _pod(NamespaceOption(pid=NamespaceMode.CONTAINER)))


def test_a_privileged_container_needs_a_privileged_pod() -> None:
    config = _config(LinuxContainerSecurityContext(privileged=True))
    for pod in (_pod(NamespaceOption()), Sandbox(id="p")):
        with pytest.raises(InvalidArgument, match="the container is privileged"):
            check_against_pod(config, pod)
    check_against_pod(config, _pod(NamespaceOption(), privileged=True))


@pytest.mark.parametrize("option", ["rw", "ro", "bind", "rshared", "size=1m", "lowerdir=/etc", ""])
def test_options_of_mounts_are_attributes_alone(option: str) -> None:
    good = M(container_path="/a", host_path="/x", mount_options=["noexec", "nosuid", "nodev"])
    check(container_config("x", mounts=[good]))
    with pytest.raises(InvalidArgument, match=f"mount /a: mount_options \\['{option}'\\]"):
        check(container_config("x", mounts=[msgspec.structs.replace(good, mount_options=["noexec", option])]))
