"""CNI network lists: the first file of conf_dir in lexical order, or our own default.

Source: CNI specification 1.1, section 1 (network configuration format).
"""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from cribus.errors import InvalidArgument
from cribus.linux.files import listed

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
Plugin = dict[str, Any]


@dataclass(slots=True, frozen=True)
class NetworkList:
    """One network: its plugins in the order of ADD. `source` is the file, empty for the built-in default."""

    name: str
    version: str
    plugins: list[Plugin] = field(default_factory=list)
    disable_check: bool = False
    disable_gc: bool = False
    source: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "cniVersion": self.version,
            "name": self.name,
            "disableCheck": self.disable_check,
            "disableGC": self.disable_gc,
            "plugins": self.plugins,
        }


def parse(document: object, source: str) -> NetworkList:
    """A list, or a single plugin's configuration as a list of one. Raises InvalidArgument."""
    if not isinstance(document, dict):
        raise InvalidArgument(f"CNI configuration {source} is no JSON object")
    plugins = document.get("plugins", [document]) if "plugins" in document or "type" in document else None
    name = document.get("name")
    if not name or not isinstance(name, str) or "/" in name or name.startswith("."):
        raise InvalidArgument(f"CNI configuration {source} needs a name without a slash")
    if not isinstance(plugins, list) or not plugins:
        raise InvalidArgument(f"CNI configuration {source} names no plugins")
    for plugin in plugins:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not kind or not isinstance(kind, str) or "/" in kind:
            raise InvalidArgument(f"CNI configuration {source}: a plugin needs a type that is a program's name")
    version = _version(document, source)
    check, gc = (document.get(one) in (True, "true") for one in ("disableCheck", "disableGC"))
    return NetworkList(name, version, plugins, check, gc, source)


def _version(document: dict[str, Any], source: str) -> str:
    """cniVersion, or the highest of cniVersions (1.1) that we speak."""
    offered = [document["cniVersion"]] if document.get("cniVersion") else []
    offered += document.get("cniVersions") or []
    known = [one for one in VERSIONS if one in offered]
    if not known:
        raise InvalidArgument(
            f"CNI configuration {source} has version {', '.join(map(str, offered)) or 'none'}: "
            f"use one of {', '.join(VERSIONS)}"
        )
    return known[-1]


def files(conf_dir: str) -> list[str]:
    """The configuration files of the folder in lexical order; none when it does not exist."""
    return [os.path.join(conf_dir, name) for name in listed(conf_dir) if name.endswith((".conflist", ".conf", ".json"))]


def load(conf_dir: str) -> NetworkList | None:
    """The network of the first file, or None without one. Raises InvalidArgument for a file that is wrong:
    a node must not quietly fall back to another network than its owner wrote down."""
    found = files(conf_dir)
    if not found:
        return None
    try:
        with open(found[0], "rb") as file:
            document = json.load(file)
    except (ValueError, OSError) as error:
        raise InvalidArgument(f"CNI configuration {found[0]} cannot be read: {error}") from error
    return parse(document, found[0])


def default(bridge: str, subnet: str, data_dir: str) -> NetworkList:
    """The network of a node whose owner wrote none: a bridge, addresses, host ports."""
    ipam = {
        "type": "host-local",
        "dataDir": data_dir,
        "ranges": [[{"subnet": one.strip()}] for one in subnet.split(",")],
        "routes": [{"dst": "::/0" if ":" in one else "0.0.0.0/0"} for one in subnet.split(",")],
    }
    main = {
        "type": "bridge",
        "bridge": bridge,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": ipam,
    }
    return NetworkList("cribus", "1.1.0", [main, {"type": "portmap", "capabilities": {"portMappings": True}}])
