"""ListContainers and its filter."""

import pytest
from cribus.api.cri import container as c
from cribus.api.cri.values import ContainerState
from cribus.manager import container_list
from cribus.manager.records import Container, State

from tests.unit.manager.conftest import Run, World, container_config

F = c.ContainerFilter


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, ["c2", "b1", "a1"]),
        (F(id="b"), ["b1"]),
        (F(pod_sandbox_id="p1"), ["b1", "a1"]),
        (F(state=ContainerState.CONTAINER_RUNNING), ["b1"]),
        (F(label_selector={"app": "web"}), ["a1"]),
        (F(id="x"), []),
    ],
)
def test_filters(world: World, run: Run, wanted: c.ContainerFilter | None, found: list[str]) -> None:
    async def story() -> list[c.Container]:
        put = world.node.records.put
        web = container_config("a", labels={"app": "web"})
        await put(Container(id="a1", pod="p1", state=State.CREATED, created_at=1, config=web))
        await put(Container(id="b1", pod="p1", state=State.STOPPING, created_at=2))
        await put(Container(id="c2", pod="p2", state=State.EXITED, created_at=3))
        await put(Container(id="d2", pod="p2", state=State.CREATING, created_at=4))
        return (await container_list.list_all(world.node, c.ListContainersRequest(filter=wanted))).containers

    assert [one.id for one in run(story())] == found
    assert not world.asked
