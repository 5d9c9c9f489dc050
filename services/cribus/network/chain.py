"""The plugins of a network list one after another: ADD, CHECK and GC in order, DEL in reverse.

Source: CNI specification 1.1, section 3 (execution of network configurations).
"""

from collections.abc import Callable
from typing import Any, Protocol

from cribus.errors import CribusError, Unavailable
from cribus.network import bridge, external, loopback, portmap
from cribus.network.config import NetworkList
from cribus.network.external import Call
from cribus.network.firewall import Firewall, HostPort, Segment

Conf = dict[str, Any]

_NOBODY = Call("", "", "")  # of a command that is about no attachment
_VALID = ("cni.dev/valid-attachments", "cni.dev/attachments")  # the second is what 1.1 called them at first


class Builtin(Protocol):
    """A plugin within this process; conf is what the program would read on its standard input."""

    def add(self, conf: Conf, call: Call) -> Conf: ...

    def check(self, conf: Conf, call: Call) -> None: ...

    def delete(self, conf: Conf, call: Call) -> None: ...

    def collect(self, conf: Conf) -> None: ...


class Chain:
    """Runs lists, with the built-in plugins where they do all that a plugin's options ask."""

    def __init__(self, firewall: Firewall, bin_dirs: tuple[str, ...]) -> None:
        self._builtin: dict[str, Builtin] = {
            "bridge": bridge.Bridge(firewall),
            "portmap": portmap.Portmap(firewall),
            "loopback": loopback.Loopback(),
        }
        self._bin_dirs = bin_dirs

    def add(self, network: NetworkList, call: Call, note: Callable[[Conf], None]) -> Conf:
        """ADD; the last plugin's result. What is made before an error is for `delete` to undo.

        `note` is given the result so far before a plugin that makes something of its own out of it.
        """
        result: Conf | None = None
        for plugin in network.plugins:
            conf = request(network, plugin, call, result)
            inside = self._inside(network, plugin)
            if result is not None and ("runtimeConfig" in conf or inside is None):
                note(result)
            result = inside.add(conf, call) if inside else external.run(self._bin_dirs, "ADD", conf, call)
        return result or {}

    def check(self, network: NetworkList, call: Call, result: Conf) -> None:
        """CHECK; nothing for lists that disable it or are older than 0.4.0."""
        if network.disable_check or network.version < "0.4.0":
            return
        for plugin in network.plugins:
            conf = request(network, plugin, call, result)
            inside = self._inside(network, plugin)
            if inside:
                inside.check(conf, call)
            else:
                external.run(self._bin_dirs, "CHECK", conf, call)

    def delete(self, network: NetworkList, call: Call, result: Conf | None) -> None:
        """DEL in reverse. Stops at the first error; may be repeated."""
        for plugin in reversed(network.plugins):
            conf = request(network, plugin, call, result if network.version >= "0.4.0" else None)
            inside = self._inside(network, plugin)
            if inside:
                inside.delete(request(network, plugin, call, result), call)
            else:
                external.run(self._bin_dirs, "DEL", conf, call)

    def status(self, network: NetworkList) -> None:
        """Raises when a plugin is missing or says that it cannot attach now (STATUS, from 1.1.0)."""
        for plugin in network.plugins:
            if self._inside(network, plugin):
                continue
            external.find(plugin["type"], self._bin_dirs)
            if network.version >= "1.1.0":
                external.run(self._bin_dirs, "STATUS", request(network, plugin, _NOBODY, None), _NOBODY)

    def collect(self, network: NetworkList, valid: list[tuple[str, str]]) -> None:
        """GC, from 1.1.0: plugins free what belongs to none of these attachments (container, interface).

        All are asked; raises Unavailable with what those that failed said.
        """
        if network.disable_gc or network.version < "1.1.0":
            return
        attachments = [{"containerID": container, "ifname": interface} for container, interface in valid]
        failures = []
        for plugin in network.plugins:
            conf = {**request(network, plugin, _NOBODY, None), **dict.fromkeys(_VALID, attachments)}
            inside = self._inside(network, plugin)
            try:
                if inside:
                    inside.collect(conf)
                else:
                    external.run(self._bin_dirs, "GC", conf, _NOBODY)
            except CribusError as error:
                failures.append(error.message)
        if failures:
            raise Unavailable("; ".join(failures))

    def needs(self, network: NetworkList, call: Call, result: Conf) -> tuple[list[HostPort], list[Segment]]:
        """The firewall entries that an attachment of ours needs."""
        ports: list[HostPort] = []
        segments: list[Segment] = []
        for plugin in network.plugins:
            if not self._inside(network, plugin):
                continue
            conf = request(network, plugin, call, result)
            if plugin["type"] == "portmap":
                ports += portmap.ports(conf, result)
            if plugin["type"] == "bridge":
                segments += bridge.segments(conf, result)
        return ports, segments

    def _inside(self, network: NetworkList, plugin: Conf) -> Builtin | None:
        """The built-in plugin when it supports every option. Portmap's rules know our own bridge only."""
        kind = plugin["type"]
        first = network.plugins[0]
        ours = first["type"] == "bridge" and bridge.supports(first)
        supported = (
            (kind == "bridge" and plugin is first and ours)
            or (kind == "portmap" and ours and portmap.supports(plugin))
            or (kind == "loopback" and loopback.supports(plugin))
        )
        return self._builtin[kind] if supported else None


def request(network: NetworkList, plugin: Conf, call: Call, result: Conf | None) -> Conf:
    """What a plugin reads: its own configuration, the list's name and version, the runtime's arguments
    for the capabilities it declares, and the result so far."""
    declared = [name for name, on in (plugin.get("capabilities") or {}).items() if on]
    conf = {**plugin, "name": network.name, "cniVersion": network.version}
    runtime = {name: call.capabilities[name] for name in declared if name in call.capabilities}
    if runtime:
        conf["runtimeConfig"] = runtime
    if result is not None:
        conf["prevResult"] = result
    return conf
