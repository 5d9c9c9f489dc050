"""A configuration that cannot be is refused with a sentence."""

from typing import Any

import pytest
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.security import LinuxContainerSecurityContext, NamespaceOption
from cribus.api.cri.values import NamespaceMode
from cribus.errors import CribusError, InvalidArgument
from cribus.manager.create_check import check, check_against_pod

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


def test_against_the_pod() -> None:
    context = LinuxContainerSecurityContext(namespace_options=NamespaceOption(network=NamespaceMode.NODE))
    config = container_config("x", linux=c.LinuxContainerConfig(security_context=context))
    with pytest.raises(CribusError, match="namespace of its own"):
        check_against_pod(config, NamespaceOption())
    check_against_pod(container_config("x"), NamespaceOption(pid=NamespaceMode.CONTAINER))
