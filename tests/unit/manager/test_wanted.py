"""Paths and the image's words."""

import msgspec
import pytest
from cribus.api.cri.container import Mount
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.security import NamespaceOption
from cribus.manager.wanted import clean, is_image, pod_modes

from tests.unit.manager.test_spec_build import POD, wanted


@pytest.mark.parametrize(
    ("path", "expected"), [("/a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/", "/"), ("/..", "/"), ("a", "/a")]
)
def test_clean(path: str, expected: str) -> None:
    assert clean(path) == expected


def test_the_image_may_say_nothing() -> None:
    bare = wanted(prepared=msgspec.structs.replace(wanted().prepared, config={"Env": None, "Volumes": None}))
    assert (bare.image("Env"), bare.image_text("User"), bare.image_volumes()) == ([], "", [])


def test_modes_are_the_pods_unless_given() -> None:
    assert wanted().modes == pod_modes(POD) == NamespaceOption()


def test_is_image() -> None:
    assert is_image(Mount(image=ImageSpec(image="i")))
    assert not is_image(Mount(image=ImageSpec()))
    assert not is_image(Mount())
