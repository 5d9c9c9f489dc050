"""Which container or pod an id means."""

from cribus.api.manager import Locate, Located
from cribus.errors import InvalidArgument, NotFound
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
        assert isinstance(await failing(locate(world.node, Locate(id="x"))), NotFound)
        assert isinstance(await failing(locate(world.node, Locate(id=""))), InvalidArgument)
        assert (await locate(world.node, Locate(id=pod, only_pods=True))).pod == pod
        assert isinstance(await failing(locate(world.node, Locate(id=id, only_pods=True))), NotFound)

    run(story())
