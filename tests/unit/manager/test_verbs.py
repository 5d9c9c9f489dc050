"""Every verb of api/manager.py is answered."""

from cribus.api import manager
from cribus.api.cri.sandbox import ListPodSandboxRequest, ListPodSandboxResponse
from cribus.api.verb import Verb
from cribus.manager import verbs

from tests.unit.manager.conftest import Run, World


def test_all_of_them(world: World) -> None:
    promised = {value for value in vars(manager).values() if isinstance(value, Verb)}
    assert set(verbs.table(world.node)) == promised


def test_a_handler_answers(world: World, run: Run) -> None:
    handler = verbs.table(world.node)[manager.LIST_SANDBOXES]

    async def story() -> None:
        assert await handler(ListPodSandboxRequest()) == ListPodSandboxResponse()

    run(story())
