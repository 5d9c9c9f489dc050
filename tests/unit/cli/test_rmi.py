import pytest
from cribus.api import images
from cribus.api.cri.image import ImageStatusResponse, ListImagesResponse, RemoveImageRequest, RemoveImageResponse

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    images.LIST: lambda _: ListImagesResponse(images=samples.IMAGES),
    images.STATUS: lambda asked: ImageStatusResponse(image=None if asked.image.image == "nope" else samples.IMAGES[0]),
    images.REMOVE: lambda _: RemoveImageResponse(),
}


def test_all_but_pinned(node: Node) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("rmi", "one:1", "two:2") == 0
        assert node.cribus("rmi", "-a") == 0
        names = [one.image.image for one in node.asked if isinstance(one, RemoveImageRequest) and one.image]
        assert names == ["one:1", "two:2", samples.IMAGES[0].id, samples.IMAGES[1].id]


def test_one_that_is_not_there(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("rmi", "nope") == 1
        assert "no image nope" in capsys.readouterr().err
        assert not any(isinstance(one, RemoveImageRequest) for one in node.asked)


def test_nothing_named(node: Node) -> None:
    assert node.cribus("rmi") == 1
