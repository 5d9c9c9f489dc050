"""ListContainers: from the records alone."""

from collections.abc import Iterable, Sequence

from cribus.api.cri import container as c
from cribus.api.cri.values import ContainerState
from cribus.manager import paging
from cribus.manager.container_status import VISIBLE, image_of
from cribus.manager.node import Node
from cribus.manager.records import Container


def _fitting(node: Node, request: c.ListContainersRequest) -> Iterable[Container]:
    wanted = request.filter or c.ContainerFilter()
    return (one for one in node.records.containers.values() if one.state in VISIBLE and _fits(one, wanted))


async def _telling(node: Node, found: Sequence[Container]) -> c.ListContainersResponse:
    return c.ListContainersResponse(containers=[_item(one) for one in found])


list_all = paging.whole(_fitting, _telling)
page = paging.paged(_fitting, _telling)


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
