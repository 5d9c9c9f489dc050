"""Which container or pod an id means."""

from cribus.api.manager import Locate, Located
from cribus.errors import NotFound
from cribus.manager.locate import locate

from tests.unit.manager.conftest import Run, World, failing


def test_containers_and_pods(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod, tty=True), await world.created(pod, "idle")
        netns = f"{world.node.pod_dir(pod)}/ns/net"
        found = await locate(world.node, Locate(id=id))
        assert found == Located(pod=pod, container=id, running=True, tty=True, netns=netns)
        assert await locate(world.node, Locate(id=pod)) == Located(pod=pod, running=True, netns=netns)
        assert not (await locate(world.node, Locate(id=idle))).running
        for unknown in ("x", ""):
            assert isinstance(await failing(locate(world.node, Locate(id=unknown))), NotFound)

    run(story())
