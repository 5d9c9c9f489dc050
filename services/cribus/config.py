"""Typed settings from one TOML file. Only a `__main__` and the command line read it; everything
else gets what it needs as arguments."""

import os
import platform
import tomllib

import msgspec

from cribus.errors import InvalidArgument

DEFAULT_PATH = "/etc/cribus/config.toml"


class Bus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the bus is. With `url` empty the node runs a nats-server of its own on `listen`."""

    url: str = ""  # of one server of a cluster, or several, with commas
    replicas: int = 1  # of a cluster's servers that keep the node's records and events
    listen: str = "127.0.0.1:4622"


class Cgroups(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    driver: str = "cgroupfs"  # or systemd
    root: str = "cribus"  # parent of pods whose config names no cgroup_parent


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    conf_dir: str = "/etc/cni/net.d"
    bin_dirs: tuple[str, ...] = ("/opt/cni/bin", "/usr/lib/cni")
    bridge: str = "cribus0"  # of the built-in default network, used when conf_dir holds no list
    subnet: str = "10.88.0.0/16"
    table: str = "cribus"  # nftables table of masquerading and host ports


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registry `host` is asked at these base URLs, in order, before (or instead of) itself."""

    urls: list[str] = []
    only: bool = False


class Images(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mirrors: dict[str, Mirror] = {}
    plain_http: list[str] = []  # registry hosts without TLS; loopback always may be
    pinned: list[str] = []  # references of images that the kubelet must not collect
    max_layer_size: int = 20 << 30  # bytes of a layer's tar: beyond it is a bomb
    concurrent_layers: int = 3


class Handler(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A runtime handler: the built-in executor, or an outside program with runc's command line."""

    path: str = ""
    args: list[str] = []


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    socket: str = ""  # empty: <run>/cribus.sock
    streaming: str = "127.0.0.1:0"
    streaming_certificate: str = ""  # PEM files; with both, streams are served over TLS
    streaming_key: str = ""


class Nri(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Node Resource Interface: where its plugins connect (empty: nowhere), and how long they may take, in s.
    Programs in the folder `plugins` are started, with what the folder `plugin_configs` has for them."""

    socket: str = "/var/run/nri/nri.sock"
    plugins: str = "/opt/nri/plugins"
    plugin_configs: str = "/etc/nri/conf.d"
    registration_timeout: float = 5.0  # to register, and again to take in what exists
    request_timeout: float = 2.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: str = ""  # one NATS subject token; empty: the host's name
    root: str = "/var/lib/cribus"
    run: str = "/run/cribus"  # on tmpfs
    log_level: str = "info"
    bus: Bus = Bus()
    cgroups: Cgroups = Cgroups()
    network: Network = Network()
    images: Images = Images()
    gateway: Gateway = Gateway()
    nri: Nri = Nri()
    handlers: dict[str, Handler] = {}


def path() -> str:
    """The settings file of this process: $CRIBUS_CONFIG, else /etc/cribus/config.toml."""
    return os.environ.get("CRIBUS_CONFIG", DEFAULT_PATH)


def load() -> Settings:
    """Read the settings file; a missing default file means the defaults.

    Raises InvalidArgument for a file that does not parse or has a field of the wrong name or type.
    """
    where = path()
    try:
        with open(where, "rb") as file:
            raw = tomllib.load(file)
    except FileNotFoundError as error:
        if "CRIBUS_CONFIG" in os.environ:
            raise InvalidArgument(f"settings file {where} does not exist; $CRIBUS_CONFIG names it") from error
        raw = {}
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"settings file {where} is not TOML: {error}") from error
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"settings file {where}: {error}") from error
    return _completed(settings)


def _completed(settings: Settings) -> Settings:
    node = settings.node or platform.node().split(".")[0].lower() or "node"
    if not all(part.isalnum() or part in "-_" for part in node):
        raise InvalidArgument(f"node name {node!r} may have only letters, digits, - and _; set `node`")
    socket = settings.gateway.socket or f"{settings.run}/cribus.sock"
    return msgspec.structs.replace(
        settings, node=node, gateway=msgspec.structs.replace(settings.gateway, socket=socket)
    )
