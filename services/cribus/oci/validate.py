"""Is a runtime-spec document one that can be run? Structure and contradictions, no look at the host.

Loads nothing but errors: the executor's command line starts cold.
"""

from cribus.errors import InvalidArgument

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
PROPAGATIONS = ("", "shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")
_DEVICES = ("a", "b", "c", "u", "p")


def validate(spec: object) -> None:
    """Raises InvalidArgument with the first thing that is wrong, named by its place in the document."""
    document = _object(spec, "config.json")
    version = _text(document, "ociVersion", "config.json")
    if version.split(".")[0] != "1":
        raise InvalidArgument(f"ociVersion {version!r}: only versions 1.x of the runtime-spec are understood")
    _check_root(document)
    if "process" in document:
        _check_process(_object(document["process"], "process"))
    _check_mounts(document)
    _check_linux(document)
    _check_hooks(document)
    if document.get("domainname") and not _owns(document, "uts"):
        raise InvalidArgument("domainname needs a uts namespace of the container's own")
    if document.get("hostname") and not _owns(document, "uts"):
        raise InvalidArgument("hostname needs a uts namespace: add one to linux.namespaces or leave hostname out")


def validate_process(process: object) -> None:
    """The same for a process document alone (`exec --process`)."""
    _check_process(_object(process, "process"))


def _check_root(document: dict[str, object]) -> None:
    root = _object(document.get("root"), "root")
    if not _text(root, "path", "root"):
        raise InvalidArgument("root.path is empty: name the directory of the root filesystem")


def _check_process(process: dict[str, object]) -> None:
    cwd = _text(process, "cwd", "process")
    if not cwd.startswith("/"):
        raise InvalidArgument(f"process.cwd {cwd!r} is not an absolute path")
    args = _texts(process, "args", "process")
    if not args or not args[0]:
        raise InvalidArgument("process.args is empty: name the program to run")
    for entry in _texts(process, "env", "process"):
        if "=" not in entry or "\0" in entry:
            raise InvalidArgument(f"process.env: {entry!r} is not NAME=value")
    user = _object(process.get("user", {}), "process.user")
    for name in ("uid", "gid"):
        _natural(user, name, "process.user")
    _check_capabilities(_object(process.get("capabilities", {}), "process.capabilities"))
    _check_rlimits(process)


def _check_capabilities(sets: dict[str, object]) -> None:
    for kind in sets:
        for name in _texts(sets, kind, "process.capabilities"):
            if not name.startswith("CAP_"):
                raise InvalidArgument(f"process.capabilities.{kind}: {name!r} does not begin with CAP_")
    beyond = set(_texts(sets, "ambient", "")) - set(_texts(sets, "inheritable", ""))
    if beyond:
        raise InvalidArgument(f"process.capabilities.ambient: {', '.join(sorted(beyond))} must be inheritable too")


def _check_rlimits(process: dict[str, object]) -> None:
    seen = set()
    for place, limit in _objects(process, "rlimits", "process"):
        kind = _text(limit, "type", place)
        if kind in seen:
            raise InvalidArgument(f"{place}: {kind} is limited twice")
        seen.add(kind)
        if _natural(limit, "soft", place) > _natural(limit, "hard", place):
            raise InvalidArgument(f"{place}: the soft limit of {kind} is above its hard limit")


def _check_mounts(document: dict[str, object]) -> None:
    for place, mount in _objects(document, "mounts", ""):
        destination = _text(mount, "destination", place)
        if not destination:
            raise InvalidArgument(f"{place} has no destination")
        _texts(mount, "options", place)
        if bool(mount.get("uidMappings")) != bool(mount.get("gidMappings")):
            raise InvalidArgument(f"{place} ({destination}): uidMappings and gidMappings go together")


def _check_linux(document: dict[str, object]) -> None:
    linux = _object(document.get("linux", {}), "linux")
    kinds: dict[str, object] = {}
    for place, namespace in _objects(linux, "namespaces", "linux"):
        kind = _text(namespace, "type", place)
        if kind not in NAMESPACES:
            raise InvalidArgument(f"{place}: there is no namespace {kind!r}; there are {', '.join(NAMESPACES)}")
        if kind in kinds:
            raise InvalidArgument(f"{place}: namespace {kind} appears twice")
        path = str(namespace.get("path", ""))
        if path and not path.startswith("/"):
            raise InvalidArgument(f"{place}: path {path!r} of namespace {kind} is not absolute")
        kinds[kind] = path
    _check_mappings(linux, kinds)
    propagation = linux.get("rootfsPropagation", "")
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(f"linux.rootfsPropagation: {propagation!r} is none of {', '.join(PROPAGATIONS[1:])}")
    _check_net_devices(linux, kinds)
    for place, device in _objects(linux, "devices", "linux"):
        if device.get("type") not in _DEVICES[1:]:
            raise InvalidArgument(f"{place}: device type {device.get('type')!r} is none of b, c, u, p")
        if not _text(device, "path", place).startswith("/"):
            raise InvalidArgument(f"{place}: device path {device.get('path')!r} is not absolute")
    if linux.get("sysctl") and not {"network", "ipc", "uts", "user"} & set(kinds):
        raise InvalidArgument("linux.sysctl would change the host: it needs a network, ipc or uts namespace")


def _check_net_devices(linux: dict[str, object], kinds: dict[str, object]) -> None:
    devices = _object(linux.get("netDevices") or {}, "linux.netDevices")
    if devices and "network" not in kinds:
        raise InvalidArgument("linux.netDevices needs a network namespace: add one to linux.namespaces")
    for name, value in devices.items():
        device = _object(value, f"linux.netDevices.{name}")
        for one in [name, *([_text(device, "name", f"linux.netDevices.{name}")] if device.get("name") else [])]:
            if not 0 < len(one) < 16 or one in (".", "..") or any(letter in "/:\0 \t\n" for letter in one):
                raise InvalidArgument(f"linux.netDevices: {one!r} is no name of a network device")


def no_rdt(resctrl: bool) -> str:
    """Why the built-in executor gives a container no class of cache or memory bandwidth (linux.intelRdt)."""
    if resctrl:
        return "the built-in executor does not set classes; take a runtime handler with an outside runtime that does"
    return "this host has no resctrl file system; mount it at /sys/fs/resctrl where CPU and kernel have it"


def _check_mappings(linux: dict[str, object], kinds: dict[str, object]) -> None:
    for name in ("uidMappings", "gidMappings"):
        mappings = _objects(linux, name, "linux")
        for place, mapping in mappings:
            for field in ("containerID", "hostID"):
                _natural(mapping, field, place)
            if not _natural(mapping, "size", place):
                raise InvalidArgument(f"{place}: size 0 maps nothing")
        if mappings and "user" not in kinds:
            raise InvalidArgument(f"linux.{name} is given, but no user namespace")
        if "user" in kinds and not kinds["user"] and not mappings:
            raise InvalidArgument(f"a new user namespace needs linux.{name}")


def _check_hooks(document: dict[str, object]) -> None:
    hooks = _object(document.get("hooks", {}), "hooks")
    for kind in hooks:
        if kind not in HOOKS:
            continue
        for place, hook in _objects(hooks, kind, "hooks"):
            if not _text(hook, "path", place).startswith("/"):
                raise InvalidArgument(f"{place}: path {hook.get('path')!r} is not absolute")
            _texts(hook, "args", place)
            _texts(hook, "env", place)
            if "timeout" in hook and not _natural(hook, "timeout", place):
                raise InvalidArgument(f"{place}: timeout 0: leave it out for none, or give seconds")


def _owns(document: dict[str, object], kind: str) -> bool:
    linux = _object(document.get("linux", {}), "linux")
    return any(namespace.get("type") == kind for _, namespace in _objects(linux, "namespaces", "linux"))


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{place} must be an object" if value is not None else f"{place} is missing")
    return value


def _objects(parent: dict[str, object], name: str, place: str) -> list[tuple[str, dict[str, object]]]:
    """The objects of a list, each with its place; an absent or null list is empty."""
    at = f"{place}.{name}" if place else name
    value = parent.get(name) or []
    if not isinstance(value, list):
        raise InvalidArgument(f"{at} must be a list")
    return [(f"{at}[{k}]", _object(item, f"{at}[{k}]")) for k, item in enumerate(value)]


def _text(parent: dict[str, object], name: str, place: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str):
        raise InvalidArgument(f"{place}.{name} must be a string" if value is not None else f"{place}.{name} is missing")
    if "\0" in value:
        raise InvalidArgument(f"{place}.{name} has a null byte in it")
    return value


def _texts(parent: dict[str, object], name: str, place: str) -> list[str]:
    value = parent.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{place}.{name} must be a list of strings")
    return value


def _natural(parent: dict[str, object], name: str, place: str) -> int:
    value = parent.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{place}.{name} must be a number that is not negative, not {value!r}")
    return value
