"""What there is, for a plugin that has just come: from the records, and what is between a plugin's consent
and its record. Loaded without plugins too, so it loads nothing of NRI."""

import json
from collections.abc import Callable
from typing import NamedTuple

from cribus.manager.records import Container, Records, Sandbox, State
from cribus.oci.runtime_spec import Spec

_THERE = (State.CREATED, State.STARTING, State.RUNNING, State.STOPPING)


class Moment(NamedTuple):
    """Of one moment. Specs are read when they are told."""

    pods: list[Sandbox]
    containers: list[tuple[Container, Callable[[], Spec]]]


class Existing:
    """`folder` is where a container's runtime-spec lies."""

    def __init__(self, records: Records, folder: Callable[[str], str]) -> None:
        self.records, self._folder = records, folder
        self._between: dict[str, tuple[Sandbox | Container, Spec]] = {}

    def note(self, record: Sandbox | Container, spec: Spec) -> None:
        """Plugins were asked about it, and its record does not say yet that it is there."""
        self._between = {id: one for id, one in self._between.items() if self._making(one[0])}
        self._between[record.id] = (record, spec)

    def forget(self, id: str) -> bool:
        """It did not come to be. Whether plugins had been asked about it."""
        return self._between.pop(id, None) is not None

    def moment(self) -> Moment:
        """What a plugin that comes now must be told."""
        pods = [one for one in self.records.sandboxes.values() if one.state not in (State.CREATING, State.REMOVING)]
        there = [one for one in self.records.containers.values() if one.state in _THERE]
        containers = [(one, self._reader(one.id)) for one in there]
        for record, spec in self._between.values():
            if self._making(record) and isinstance(record, Sandbox):
                pods.append(record)
            elif self._making(record) and isinstance(record, Container):
                containers.append((record, _holder(spec)))
        return Moment(pods, containers)

    def spec(self, container: str) -> Spec:
        """The runtime-spec of a container; empty once its traces are gone."""
        try:
            with open(f"{self._folder(container)}/config.json", "rb") as file:
                spec: Spec = json.load(file)
                return spec
        except FileNotFoundError:
            return {}

    def _making(self, record: Sandbox | Container) -> bool:
        known = self.records.latest(record)
        return known is not None and known.state is State.CREATING

    def _reader(self, container: str) -> Callable[[], Spec]:
        return lambda: self.spec(container)


def _holder(spec: Spec) -> Callable[[], Spec]:
    return lambda: spec
