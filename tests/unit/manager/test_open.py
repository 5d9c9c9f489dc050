"""A node as this host has it."""

from pathlib import Path

from cribus.config import Settings
from cribus.manager.open import open_node
from cribus.manager.records import Records, Sandbox

from tests.unit.manager.conftest import Run, Store, World


def test_records_are_read(world: World, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        store = Store()
        await Records(store).put(Sandbox(id="a", name="n"))
        settings = Settings(node="unit", root=str(tmp_path / "r"), run=str(tmp_path / "run"))
        node = await open_node(settings, world.call, world.node.publish, store)
        assert list(node.records.sandboxes) == ["a"]
        assert node.tree.driver == "cgroupfs"
        assert node.network.ready()[1] == ""

    run(story())
