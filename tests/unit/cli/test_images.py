import json

import pytest
from cribus.api import images
from cribus.api.cri.image import ListImagesResponse

from tests.unit.cli import samples
from tests.unit.cli.conftest import Node

ANSWERS = {images.LIST: lambda _: ListImagesResponse(images=samples.IMAGES)}


def test_a_row_a_name(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("images") == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
        assert rows == [
            ["<none>", "f" * 13, "5", "B"],
            ["localhost/app@sha256:" + "1" * 64, "e" * 13, "10", "B"],
            ["localhost/busybox:latest", "d" * 13, "2.03", "MB"],
        ]
        assert node.cribus("images", "--json") == 0
        assert json.loads(capsys.readouterr().out)[0]["tags"] == ["localhost/busybox:latest"]
        assert node.cribus("images", "-q") == 0
        assert capsys.readouterr().out.split() == [image.id for image in samples.IMAGES]
