"""ListPodSandbox and its filter."""

import pytest
from cribus.api.cri import sandbox as s
from cribus.api.cri.values import PodSandboxState
from cribus.manager import sandbox_list
from cribus.manager.records import Sandbox, State

from tests.unit.manager.conftest import Run, World, pod_config

F = s.PodSandboxFilter


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, ["c1", "b1", "a1"]),
        (F(id="a"), ["a1"]),
        (F(state=PodSandboxState.SANDBOX_READY), ["a1"]),
        (F(state=PodSandboxState.SANDBOX_NOTREADY), ["c1", "b1"]),
        (F(label_selector={"app": "web"}), ["b1"]),
    ],
)
def test_filters(world: World, run: Run, wanted: s.PodSandboxFilter | None, found: list[str]) -> None:
    async def story() -> list[s.PodSandbox]:
        put = world.node.records.put
        await put(Sandbox(id="a1", state=State.READY, created_at=1))
        await put(Sandbox(id="b1", state=State.NOTREADY, created_at=2, config=pod_config("b", labels={"app": "web"})))
        await put(Sandbox(id="c1", state=State.STOPPING, created_at=3))
        await put(Sandbox(id="d1", state=State.CREATING, created_at=4))
        return (await sandbox_list.list_all(world.node, s.ListPodSandboxRequest(filter=wanted))).items

    assert [one.id for one in run(story())] == found
    assert not world.asked
