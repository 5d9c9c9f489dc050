"""Folders and locks."""

import asyncio

from cribus.manager.node import Locks

from tests.unit.manager.conftest import Run, World


def test_folders(world: World) -> None:
    node = world.node
    assert node.pod_dir("p") == f"{world.settings.run}/pods/p"
    assert node.container_dir("c") == f"{world.settings.run}/containers/c"
    assert node.volumes_dir("c") == f"{world.settings.root}/volumes/c"


def test_one_lock_an_id_while_somebody_holds_it(run: Run) -> None:
    async def story() -> None:
        locks = Locks()
        order: list[str] = []

        async def work(name: str) -> None:
            async with locks.of("a"):
                order.append(name)
                await asyncio.sleep(0)
                order.append(name)

        await asyncio.gather(work("x"), work("y"))
        assert order == ["x", "x", "y", "y"]
        assert not locks._locks

    run(story())
