"""Which plugin set what: two that set the same thing contradict each other."""

from enum import IntEnum

from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m


class Field(IntEnum):
    """By NRI's numbers. The fields of memory and CPU follow each other as in their messages."""

    ANNOTATIONS = 1
    MOUNTS = 2
    HOOKS = 3
    DEVICES = 4
    CDI_DEVICES = 5
    ENV = 6
    ARGS = 7
    MEMORY = 8
    CPU = 16
    PIDS = 23
    HUGEPAGES = 24
    BLOCKIO_CLASS = 25
    RDT_CLASS = 26
    UNIFIED = 27
    CGROUPS_PATH = 28
    OOM_SCORE_ADJ = 29
    RLIMITS = 30
    IO_PRIORITY = 31
    SECCOMP_POLICY = 32
    NAMESPACES = 33
    SYSCTL = 34
    NET_DEVICES = 35
    SCHEDULER = 36
    RDT = 37
    MEMORY_POLICY = 40


_REMOVED = "-"  # before the name of a plugin that took something away: it alone may set it anew


class Owners:
    """Of one request. A thing is (container, number of the field, key within it)."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, int, str], str] = {}

    def claim(self, plugin: str, container: str, field: int, key: str = "") -> None:
        """Raises FailedPrecondition when another plugin has set it."""
        owner = self._owners.get((container, field, key))
        if owner not in (None, plugin, _REMOVED + plugin):
            what = f"{_noun(field)} {key}".strip()
            raise FailedPrecondition(
                f"NRI plugins {owner.removeprefix(_REMOVED)} and {plugin} both set {what} of container {container}"
            )
        self._owners[container, field, key] = plugin

    def clear(self, plugin: str, container: str, field: int, key: str = "") -> None:
        """What others set is taken away. What nobody set is not owned by who removes it."""
        if (container, field, key) in self._owners:
            self._owners[container, field, key] = _REMOVED + plugin

    def share(self, plugin: str, container: str, field: int) -> None:
        """What several may add to."""
        owner = self._owners.get((container, field, ""))
        self._owners[container, field, ""] = f"{owner},{plugin}" if owner else plugin

    def told(self) -> m.OwningPlugins:
        """As validating plugins are told."""
        made = m.OwningPlugins(owners={})
        for (container, field, key), plugin in self._owners.items():
            fields = made.owners.setdefault(container, m.FieldOwners(simple={}, compound={}))
            if key:
                compound = fields.compound.setdefault(field, m.CompoundFieldOwners(owners={}))
                compound.owners[key] = plugin
            else:
                fields.simple[field] = plugin
        return made


def _noun(field: int) -> str:
    if Field.MEMORY <= field < Field.CPU:
        return f"memory.{m.Memory.__struct_fields__[field - Field.MEMORY]}"
    if Field.CPU <= field < Field.PIDS:
        return f"cpu.{m.Cpu.__struct_fields__[field - Field.CPU]}"
    if Field.RDT <= field < Field.MEMORY_POLICY:
        return f"rdt.{m.Rdt.__struct_fields__[field - Field.RDT]}"
    return Field(field).name.lower()
