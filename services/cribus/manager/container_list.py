"""ListContainers: from the records alone."""

from cribus.api.cri import container as c
from cribus.api.cri.values import ContainerState
from cribus.manager.container_status import VISIBLE, image_of
from cribus.manager.node import Node
from cribus.manager.records import Container


async def list_all(node: Node, request: c.ListContainersRequest) -> c.ListContainersResponse:
    """Newest first, as the filter wants them."""
    wanted = request.filter or c.ContainerFilter()
    found = [one for one in node.records.containers.values() if one.state in VISIBLE and _fits(one, wanted)]
    found.sort(key=lambda one: one.created_at, reverse=True)
    return c.ListContainersResponse(containers=[_item(one) for one in found])


def matches(labels: dict[str, str], selector: dict[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def _fits(record: Container, wanted: c.ContainerFilter) -> bool:
    return (
        record.id.startswith(wanted.id)
        and record.pod.startswith(wanted.pod_sandbox_id)
        and (wanted.state is None or VISIBLE[record.state] is wanted.state)
        and matches(record.config.labels, wanted.label_selector)
    )


def _item(record: Container) -> c.Container:
    state: ContainerState = VISIBLE[record.state]
    return c.Container(
        id=record.id,
        pod_sandbox_id=record.pod,
        metadata=record.config.metadata,
        image=image_of(record),
        image_ref=record.image_ref,
        image_id=record.image_id,
        state=state,
        created_at=record.created_at,
        labels=record.config.labels,
        annotations=record.config.annotations,
    )
