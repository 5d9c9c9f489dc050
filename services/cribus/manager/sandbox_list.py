"""ListPodSandbox: from the records alone."""

from collections.abc import Iterable, Sequence

from cribus.api.cri import sandbox as s
from cribus.manager import paging
from cribus.manager.container_list import matches
from cribus.manager.node import Node
from cribus.manager.records import Sandbox, State
from cribus.manager.sandbox_status import state_of


def _fitting(node: Node, request: s.ListPodSandboxRequest) -> Iterable[Sandbox]:
    """As the filter wants them. A pod that is being made is not there yet."""
    wanted = request.filter or s.PodSandboxFilter()
    made = (one for one in node.records.sandboxes.values() if one.state is not State.CREATING)
    return (one for one in made if _fits(one, wanted))


async def _telling(node: Node, found: Sequence[Sandbox]) -> s.ListPodSandboxResponse:
    return s.ListPodSandboxResponse(items=[_item(one) for one in found])


list_all = paging.whole(_fitting, _telling)
page = paging.paged(_fitting, _telling)


def _fits(record: Sandbox, wanted: s.PodSandboxFilter) -> bool:
    return (
        record.id.startswith(wanted.id)
        and (wanted.state is None or state_of(record) is wanted.state)
        and matches(record.config.labels, wanted.label_selector)
    )


def _item(record: Sandbox) -> s.PodSandbox:
    return s.PodSandbox(
        id=record.id,
        metadata=record.config.metadata,
        state=state_of(record),
        created_at=record.created_at,
        labels=record.config.labels,
        annotations=record.config.annotations,
        runtime_handler=record.handler,
    )
