"""RemoveContainer: from every state, any number of times. And the one teardown of containers."""

import contextlib
import shutil

from cribus.api import images
from cribus.api.cri.container import RemoveContainerRequest, RemoveContainerResponse
from cribus.errors import NotFound
from cribus.manager import container_restore, container_stop, exits, expendable, lifecycle
from cribus.manager.node import Node
from cribus.manager.records import Container, State
from cribus.steps import Step

_DELETING = 120.0  # seconds that deleting volumes may take
_LAYER = Step("manager.remove.layer")
_FILES = Step("manager.remove.files")


async def remove(node: Node, request: RemoveContainerRequest) -> RemoveContainerResponse:
    """Remove a container, by force when it runs. One that is not there is removed."""
    try:
        record = node.records.container(request.container_id)
    except NotFound:
        return RemoveContainerResponse()
    if record.state is State.CREATING:
        await node.names.settle(record.name)
    await by_id(node, record.id)
    return RemoveContainerResponse()


async def by_id(node: Node, id: str) -> None:
    """The same for those who know the full id."""
    async with node.locks.of(id):
        record = node.records.containers.get(id)
        if record is None:
            return
        if record.state in exits.ALIVE:
            await container_stop.kill(node, record)
        record = await lifecycle.move(node, record, State.REMOVING)
        await node.nri.removed(record)
        await teardown(node, record)
        await lifecycle.gone(node, record)


async def teardown(node: Node, record: Container) -> None:
    """Everything of a container but its record. Idempotent; every step is content with nothing."""
    if record.started_at:
        await container_stop.release(node, record)
    for name in (record.id, *record.volumes):
        with _LAYER.of(record.id):
            await node.call(images.DISCARD, images.Discard(container=name))
    with _FILES.of(record.id):
        await expendable.run(lambda: _delete(node, record.id), "deleting a container's files", _DELETING)


def _delete(node: Node, id: str) -> None:
    for folder in (node.container_dir(id), node.volumes_dir(id), f"{container_restore.home(node)}/{id}"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
