"""What is left on the host of pods, containers and images that have gone: looked for by their ids and digests,
wherever a node puts anything of them. What others have is not looked at.
"""

import os
import re
from collections.abc import Iterator

from cribus.bus import credentials
from cribus.bus.connection import Connection
from cribus.bus.kv import Records
from cribus.cli.storm.victims import children, read
from cribus.cli.supervisor import configuration, daemon
from cribus.config import Settings

_ID = re.compile(r"[0-9a-f]{64}")
_CGROUPS = "/sys/fs/cgroup"
_OF_IMAGES = ("containers", "images", "layers", "blobs/sha256", "partial")


def left(settings: Settings, ids: set[str]) -> list[str]:
    """In words: folders, records, blobs, layers, mounts, cgroups, addresses, links and processes of these ids."""
    found = [
        *_folders(settings, ids),
        *_mounts(ids),
        *_cgroups(ids),
        *_network(settings, ids),
        *_processes(settings, ids),
    ]
    return sorted(set(found))


def _named(text: str, ids: set[str]) -> str:
    """The first of these ids that the text has, or nothing."""
    return next((id for id in _ID.findall(text) if id in ids), "")


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(settings: Settings, ids: set[str]) -> Iterator[str]:
    places = [f"{settings.run}/{kind}" for kind in ("pods", "containers", "records")]
    places += [f"{settings.root}/images/{kind}" for kind in _OF_IMAGES]
    for folder in [*places, f"{settings.root}/network/attached"]:
        yield from (f"file {folder}/{name}" for name in _listed(folder) if _named(name, ids))


def _mounts(ids: set[str]) -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if _named(line, ids):
                yield f"mount {line.split()[4]}"


def _cgroups(ids: set[str]) -> Iterator[str]:
    for folder, names, _ in os.walk(_CGROUPS):
        yield from (f"cgroup {folder}/{name}" for name in names if _named(name, ids))


def _network(settings: Settings, ids: set[str]) -> Iterator[str]:
    base = f"{settings.root}/network/addresses"
    for network in _listed(base):
        for name in _listed(f"{base}/{network}"):
            if _named(_content(f"{base}/{network}/{name}"), ids):
                yield f"address {name} of network {network}"


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""  # it goes just now, or is a folder


def _processes(settings: Settings, ids: set[str]) -> Iterator[str]:
    """Shims, keepers and what runs in a container's cgroup; and dead children that nobody reaped."""
    short = {id[:10] for id in ids}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        pid = int(name)
        comm = read(pid, "comm").decode(errors="replace").strip()
        words = read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        mine = comm.startswith("shim:") and comm[5:] in short
        kept = comm == "keeper" and _cut(words, ids)
        if mine or kept or _named(read(pid, "cgroup").decode(errors="replace"), ids):
            yield f"process {pid} {comm}"
    for pid in _node(settings):
        if read(pid, "stat").rpartition(b")")[2].split()[:1] == [b"Z"]:
            yield f"process {pid} is dead and not reaped"


def _cut(title: str, ids: set[str]) -> bool:
    """Whether a keeper's title ends with one of these ids, or with the beginning that had room there."""
    found = re.search(r"containers/([0-9a-f]{6,})\s*$", title)
    return found is not None and any(id.startswith(found[1]) for id in ids)


def _node(settings: Settings) -> Iterator[int]:
    """Every process of the services, and what they have for children."""
    supervisord = daemon.running(str(configuration.directory(settings)))
    for service in children(supervisord) if supervisord else ():
        yield service
        for below in children(service):
            yield below
            yield from children(below)


async def keys(settings: Settings, ids: set[str]) -> list[str]:
    """The records of these ids that the KV still has. Read as the manager, who alone may."""
    connection = Connection(credentials.login(settings, "manager"))
    await connection.open()
    try:
        found = await Records(connection).load_all()
    finally:
        await connection.close()
    return [f"record {key} in the KV" for key in sorted(found) if _named(key, ids)]


def orphans(settings: Settings) -> set[str]:
    """Ports of the built-in bridge that no pod's note names."""
    base = f"{settings.root}/network/attached"
    ports = set(_listed(f"/sys/class/net/{settings.network.bridge}/brif"))  # before the notes: those come first
    notes = [_content(f"{base}/{name}") for name in _listed(base)]
    return {f"link {port}" for port in ports if not any(f'"{port}"' in note for note in notes)}
