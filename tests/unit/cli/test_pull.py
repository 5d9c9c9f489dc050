from typing import Any

import pytest
from cribus.api import images
from cribus.api.cri.image import PullImageResponse
from cribus.cli.pull import ANNOTATION
from cribus.errors import NotFound

from tests.unit.cli.conftest import Node


def test_progress_and_reference(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    async def pull(request: Any) -> PullImageResponse:
        id = request.image.annotations[ANNOTATION]
        await node.bus["images"].tell(id, images.Progress(layer="sha256:" + "7" * 64, stage="done", done=9, total=9))
        return PullImageResponse(image_ref="localhost/x@sha256:1")

    with node.serving({images.PULL: pull}):
        assert node.cribus("pull", "localhost/x:1", "--creds", "me:secret") == 0
        out, err = capsys.readouterr()
        assert out == "localhost/x@sha256:1\n"
        assert err == "777777777777 done\n"
        assert (node.asked[0].auth.username, node.asked[0].auth.password) == ("me", "secret")


def test_an_error_is_one_sentence(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    def pull(_: Any) -> PullImageResponse:
        raise NotFound("the registry localhost has no image x")

    with node.serving({images.PULL: pull}):
        assert node.cribus("pull", "-q", "localhost/x:1") == 1
        assert capsys.readouterr().err == "cribus: the registry localhost has no image x\n"
