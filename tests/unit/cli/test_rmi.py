from cribus.api import images
from cribus.api.cri.image import ListImagesResponse, RemoveImageRequest, RemoveImageResponse

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    images.LIST: lambda _: ListImagesResponse(images=samples.IMAGES),
    images.REMOVE: lambda _: RemoveImageResponse(),
}


def test_all_but_pinned(node: Node) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("rmi", "one:1", "two:2") == 0
        assert node.cribus("rmi", "-a") == 0
        names = [one.image.image for one in node.asked if isinstance(one, RemoveImageRequest) and one.image]
        assert names == ["one:1", "two:2", samples.IMAGES[0].id, samples.IMAGES[1].id]


def test_nothing_named(node: Node) -> None:
    assert node.cribus("rmi") == 1
