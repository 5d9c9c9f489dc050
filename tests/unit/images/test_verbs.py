"""Every verb of the contract has its function."""

import errno

import pytest
from cribus.api import images
from cribus.api.cri.stats import ImageFsInfoRequest
from cribus.api.verb import Verb
from cribus.errors import ResourceExhausted
from cribus.images import verbs

from tests.unit.images.world import World, run


def test_the_table_is_whole(world: World) -> None:
    async def work() -> None:
        known = {one for one in vars(images).values() if isinstance(one, Verb)}
        assert set(verbs.table(world.node())) == known

    run(work)


def test_what_the_host_lacks_is_a_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        node = world.node()

        def short() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(node, "usage", short)
        with pytest.raises(ResourceExhausted, match="limit of open files"):
            await verbs.table(node)[images.FS_INFO](ImageFsInfoRequest())

    run(work)
