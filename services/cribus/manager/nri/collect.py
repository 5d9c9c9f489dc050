"""Answers of several plugins, one after the other, become one. Pure.

Each plugin sees the container as those before it left it. A name with "-" before it is taken away.
"""

from typing import Any, TypeVar

import msgspec

from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.owners import Field, Owners

T = TypeVar("T")
REMOVE = "-"
_HOOKS = m.Hooks.__struct_fields__


class Updates:
    """Of other containers, and of the one that is being updated: `target`, with what was asked for it."""

    def __init__(self, owners: Owners, creating: str = "") -> None:
        self._owners, self._creating = owners, creating
        self._found: dict[str, m.ContainerUpdate] = {}
        self.evictions: list[m.ContainerEviction] = []

    def expect(self, target: str, asked: m.Resources) -> None:
        self._found[target] = m.ContainerUpdate(container_id=target, linux=m.LinuxContainerUpdate(resources=asked))

    def take(self, plugin: str, updates: list[m.ContainerUpdate], evictions: list[m.ContainerEviction]) -> None:
        """Raises FailedPrecondition for a contradiction that is not to be ignored."""
        self.evictions += evictions
        for update in updates:
            try:
                self._take(plugin, update)
            except FailedPrecondition:
                if not update.ignore_failure:
                    raise

    def _take(self, plugin: str, update: m.ContainerUpdate) -> None:
        id = update.container_id
        if id == self._creating:
            raise FailedPrecondition(f"NRI plugin {plugin} updates container {id}, which is being created: adjust it")
        known = self._found.get(id) or m.ContainerUpdate(container_id=id, ignore_failure=True)
        merged = resources_of(known)
        merge_resources(merged, resources_of(update), (self._owners, plugin, id))
        self._found[id] = m.ContainerUpdate(
            container_id=id,
            linux=m.LinuxContainerUpdate(resources=merged),
            ignore_failure=known.ignore_failure and update.ignore_failure,
        )

    def all(self) -> list[m.ContainerUpdate]:
        return list(self._found.values())

    def now(self, target: str) -> m.Resources:
        """What is to be done about the target, as far as plugins have said."""
        return resources_of(self._found[target])

    def leave(self, target: str) -> None:
        """The rest is about others."""
        del self._found[target]


def resources_of(update: m.ContainerUpdate) -> m.Resources:
    """A copy of an update's resources."""
    found = update.linux.resources if update.linux else None
    return msgspec.convert(msgspec.to_builtins(found), m.Resources) if found else m.Resources()


class Creation:
    """CreateContainer: `container` as the next plugin sees it, `adjust` as the last one left it."""

    def __init__(self, container: m.Container) -> None:
        self.container = container
        self.linux = container.linux or m.LinuxContainer()
        container.linux = self.linux
        self.made = m.LinuxContainerAdjustment(resources=m.Resources())
        self.adjust = m.ContainerAdjustment(linux=self.made)
        self.owners = Owners()
        self.updates = Updates(self.owners, creating=container.id)
        self._plugin = ""

    def take(self, plugin: str, answer: m.CreateContainerResponse) -> None:
        """Raises FailedPrecondition when it contradicts a plugin before it."""
        self._plugin = plugin
        if answer.adjust is not None:
            self._generic(answer.adjust)
            if answer.adjust.linux is not None:
                self._of_linux(answer.adjust.linux)
        self.updates.take(plugin, answer.update, answer.evict)

    def _generic(self, given: m.ContainerAdjustment) -> None:
        seen, made = self.container, self.adjust
        self._names(Field.ANNOTATIONS, given.annotations, (seen.annotations, made.annotations), "")
        seen.mounts, made.mounts = self._keyed(Field.MOUNTS, given.mounts, "destination", (seen.mounts, made.mounts))
        self._env(given.env)
        self._args(given.args)
        if given.hooks is not None:
            self._hooks(given.hooks)
        for limit in given.rlimits:
            self._claim(Field.RLIMITS, limit.type)
            seen.rlimits = [one for one in seen.rlimits if one.type != limit.type] + [limit]
            made.rlimits.append(limit)
        for device in given.cdi_devices:
            self._claim(Field.CDI_DEVICES, device.name)
            made.cdi_devices.append(device)

    def _of_linux(self, given: m.LinuxContainerAdjustment) -> None:
        seen, made = self.linux, self.made
        seen.devices, made.devices = self._keyed(Field.DEVICES, given.devices, "path", (seen.devices, made.devices))
        both = (seen.namespaces, made.namespaces)
        seen.namespaces, made.namespaces = self._keyed(Field.NAMESPACES, given.namespaces, "type", both)
        self._names(Field.SYSCTL, given.sysctl, (seen.sysctl, made.sysctl), "")
        self._names(Field.NET_DEVICES, given.net_devices, (seen.net_devices, made.net_devices), m.NetDevice())
        seen.resources = seen.resources or m.Resources()
        made.resources = made.resources or m.Resources()
        if given.resources is not None:
            who = (self.owners, self._plugin, self.container.id)
            merge_resources(made.resources, given.resources, who)
            merge_resources(seen.resources, given.resources, None)
        for name, field in _ALONE.items():
            value = getattr(given, name)
            if value not in (None, ""):
                self._claim(field)
                setattr(made, name, value)
                if name in seen.__struct_fields__:
                    setattr(seen, name, value)
        if given.rdt is not None:
            self._rdt(given.rdt)

    def _claim(self, field: int, key: str = "") -> None:
        self.owners.claim(self._plugin, self.container.id, field, key)

    def _clear(self, field: int, key: str = "") -> None:
        self.owners.clear(self._plugin, self.container.id, field, key)

    def _names(self, field: int, given: dict[str, T], both: tuple[dict[str, T], dict[str, T]], nothing: T) -> None:
        """A map: seen and made."""
        seen, made = both
        for name in [name for name in given if name.startswith(REMOVE)]:
            self._clear(field, name[1:])
            seen.pop(name[1:], None)
            made.pop(name[1:], None)
            made[name] = nothing
        for name, value in given.items():
            if not name.startswith(REMOVE):
                self._claim(field, name)
                seen[name] = made[name] = value

    def _keyed(self, field: int, given: list[T], key: str, both: tuple[list[T], list[T]]) -> tuple[list[T], list[T]]:
        """A list whose elements have a name: seen and made, anew."""
        seen, made = both
        names = {getattr(one, key) for one in given}
        removed = {name[1:] for name in names if name.startswith(REMOVE)}
        for name in removed:
            self._clear(field, name)
        for name in sorted(names):
            if not name.startswith(REMOVE):
                self._claim(field, name)
        added = [one for one in given if not getattr(one, key).startswith(REMOVE)]
        seen = [one for one in seen if getattr(one, key) not in removed | names] + added
        made = [one for one in made if getattr(one, key) not in removed]
        marks = [one for one in given if getattr(one, key)[1:] in removed - names and one not in added]
        return seen, made + marks + added

    def _env(self, given: list[m.KeyValue]) -> None:
        seen = [
            m.KeyValue(key=name, value=text) for name, _, text in (one.partition("=") for one in self.container.env)
        ]
        seen, self.adjust.env = self._keyed(Field.ENV, given, "key", (seen, self.adjust.env))
        self.container.env = [f"{one.key}={one.value}" for one in seen]

    def _args(self, given: list[str]) -> None:
        """An empty first one says that another plugin's may be replaced."""
        if given and not given[0]:
            self._clear(Field.ARGS)
            given = given[1:]
        if given:
            self._claim(Field.ARGS)
            self.container.args = self.adjust.args = given

    def _hooks(self, given: m.Hooks) -> None:
        seen, made = self.container.hooks or m.Hooks(), self.adjust.hooks or m.Hooks()
        self.container.hooks, self.adjust.hooks = seen, made
        for name in _HOOKS:
            more = getattr(given, name)
            setattr(seen, name, getattr(seen, name) + more)
            setattr(made, name, getattr(made, name) + more)
        if any(getattr(given, name) for name in _HOOKS):
            self.owners.share(self._plugin, self.container.id, Field.HOOKS)

    def _rdt(self, given: m.Rdt) -> None:
        rdt = self.made.rdt or m.Rdt()
        if given.remove:
            for k in range(3):
                self._clear(Field.RDT + k)
            rdt = m.Rdt(remove=True)
        for k, name in enumerate(m.Rdt.__struct_fields__[:3]):
            if getattr(given, name) is not None:
                self._claim(Field.RDT + k)
                setattr(rdt, name, getattr(given, name))
        self.made.rdt = rdt


_ALONE = {
    "cgroups_path": Field.CGROUPS_PATH,
    "oom_score_adj": Field.OOM_SCORE_ADJ,
    "io_priority": Field.IO_PRIORITY,
    "seccomp_policy": Field.SECCOMP_POLICY,
    "scheduler": Field.SCHEDULER,
    "memory_policy": Field.MEMORY_POLICY,
}


def merge_resources(into: m.Resources, given: m.Resources, who: tuple[Owners, str, str] | None) -> None:
    """What is given over what is there; `who` (owners, plugin, container) claims it first."""

    def claim(field: int, key: str = "") -> None:
        if who is not None:
            who[0].claim(who[1], who[2], field, key)

    into.memory = _merged(into.memory or m.Memory(), given.memory, (Field.MEMORY, claim))
    into.cpu = _merged(into.cpu or m.Cpu(), given.cpu, (Field.CPU, claim))
    for limit in given.hugepageLimits:
        claim(Field.HUGEPAGES, limit.pageSize)
        into.hugepageLimits = [one for one in into.hugepageLimits if one.pageSize != limit.pageSize] + [limit]
    for key in given.unified:
        claim(Field.UNIFIED, key)
    into.unified = {**into.unified, **given.unified}
    into.devices = [*into.devices, *given.devices]
    for name, field in (
        ("blockio_class", Field.BLOCKIO_CLASS),
        ("rdt_class", Field.RDT_CLASS),
        ("pids", Field.PIDS),
    ):
        if getattr(given, name) is not None:
            claim(field)
            setattr(into, name, getattr(given, name))


def _merged(into: T, given: T | None, how: tuple[int, Any]) -> T:
    first, claim = how
    if given is None:
        return into
    changes: dict[str, Any] = {}
    for k, name in enumerate(m.Memory.__struct_fields__ if isinstance(given, m.Memory) else m.Cpu.__struct_fields__):
        value = getattr(given, name)
        if value not in (None, ""):
            claim(first + k)
            changes[name] = value
    return msgspec.structs.replace(into, **changes)  # type: ignore[type-var]
