"""Every verb of the contract has its function."""

from cribus.api import images
from cribus.api.verb import Verb
from cribus.images import verbs

from tests.unit.images.world import World, run


def test_the_table_is_whole(world: World) -> None:
    async def work() -> None:
        known = {one for one in vars(images).values() if isinstance(one, Verb)}
        assert set(verbs.table(world.node())) == known

    run(work)
