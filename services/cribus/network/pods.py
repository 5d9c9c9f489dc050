"""Pods and their network: the room's front door. Every call blocks; call from a thread."""

import hashlib
import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from cribus.errors import CribusError, FailedPrecondition, Unavailable
from cribus.linux import files
from cribus.linux.netns import within
from cribus.network import chain, config, links, loopback
from cribus.network.cache import Cache, Entry
from cribus.network.external import Call
from cribus.network.firewall import Firewall, HostPort, Segment
from cribus.network.rates import bandwidth
from cribus.steps import Step

INTERFACE = "eth0"
_INTENT = Step("manager.network.intent")
_ADDED = Step("manager.network.added")
_NOTED = Step("manager.network.noted")
_DELETED = Step("manager.network.deleted")
_FORGOTTEN = Step("manager.network.forgotten")


class Settings(Protocol):
    """The settings' section `network`."""

    @property
    def conf_dir(self) -> str: ...
    @property
    def bin_dirs(self) -> tuple[str, ...]: ...
    @property
    def bridge(self) -> str: ...
    @property
    def subnet(self) -> str: ...
    @property
    def table(self) -> str: ...


@dataclass(slots=True, frozen=True)
class Pod:
    """A pod to attach. `ports` are CNI port mappings: hostPort, containerPort, protocol, hostIP."""

    id: str
    netns: str
    name: str = ""
    namespace: str = ""
    uid: str = ""
    ports: list[dict[str, Any]] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    dns: dict[str, Any] = field(default_factory=dict)
    cgroup: str = ""


@dataclass(slots=True, frozen=True)
class Attached:
    """What came of it; the first address is the main one. `result` is CNI's own."""

    ips: list[str]
    gateway: str
    interface: str
    result: dict[str, Any]


class Network:
    """One node's pod network: the list in conf_dir, or the built-in default without one."""

    def __init__(self, settings: Settings, root: str) -> None:
        self._settings = settings
        self._told = f"{root}/network/pod_cidr"
        told = _text(self._told)
        self._subnet, self._ranges = told or settings.subnet, _ranges(told)
        self._addresses = f"{root}/network/addresses"
        self._cache = Cache(f"{root}/network/attached")
        self.firewall = Firewall(settings.table)
        self._chain = chain.Chain(self.firewall, tuple(settings.bin_dirs))
        # Links of another node on this host must never be taken for ours.
        self._prefix = "crb" + hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:4]

    def set_pod_cidr(self, subnet: str) -> None:
        """New pods get addresses from here on (CRI UpdateRuntimeConfig); comma-separated for two families.

        It holds after a restart too: whoever said it (the kubelet) does not say it again.
        """
        os.makedirs(os.path.dirname(self._told), exist_ok=True)
        files.write_atomic(self._told, subnet.encode())
        self._subnet, self._ranges = subnet, _ranges(subnet)

    def attach(self, pod: Pod) -> Attached:
        """Give the pod its interfaces, addresses and host ports.

        A repeat for the same namespace answers the same; what an attempt left unfinished is undone
        first. Raises an error of cribus.errors; then `detach` undoes what there is.
        """
        inode = os.stat(pod.netns).st_ino
        before = self._cache.read(pod.id)
        if before is not None:
            if before.result is not None and before.inode == inode and before.netns == pod.netns:
                return _attached(before.result)
            self.detach(pod.id)
        network = self._network()
        host_link = self._prefix + os.urandom(4).hex()
        entry = Entry(
            pod.id, pod.netns, inode, INTERFACE, host_link, _args(pod), self._capabilities(pod), network.as_json()
        )
        with _INTENT.of(pod.id):
            self._cache.write(entry)
        if network.source:
            loopback.bring_up(pod.netns)
        with _ADDED.of(pod.id):
            entry.result = self._chain.add(network, _call(entry, pod.netns), lambda result: self._note(entry, result))
        attached = _attached(entry.result)
        with _NOTED.of(pod.id):
            self._cache.write(entry)
        return attached

    def detach(self, pod_id: str, netns: str = "") -> None:
        """Take everything away again. Idempotent, from every state, also when the namespace is gone."""
        entry = self._cache.read(pod_id)
        if entry is None:
            return
        path = netns or entry.netns
        alive = os.path.exists(path) and os.stat(path).st_ino == entry.inode
        with _DELETED.of(pod_id):
            self._chain.delete(entry.network_list(), _call(entry, path if alive else ""), entry.result or entry.partial)
        with _FORGOTTEN.of(pod_id):
            self._cache.remove(pod_id)

    def check(self, pod_id: str) -> None:
        """Raises FailedPrecondition when the pod is not attached as it was."""
        entry = self._cache.read(pod_id)
        if entry is None or entry.result is None:
            raise FailedPrecondition(f"pod {pod_id} is not attached to the network")
        self._chain.check(entry.network_list(), _call(entry, entry.netns), entry.result)

    def ready(self) -> tuple[bool, str]:
        """Whether pods can be attached now, and why not."""
        try:
            self._chain.status(self._network())
        except CribusError as error:
            return False, error.message
        return True, ""

    def reconcile(self, live_pods: set[str]) -> None:
        """Restore the rules of these pods; free addresses, veths, firewall elements and cache of all others. Then
        let plugins free what nobody knows of any more.

        What fails for one hinders nobody else; at the end Unavailable is raised with all of it.
        """
        left, failures = self._agree(live_pods)
        failures += self._collect(left)
        if failures:
            raise Unavailable("; ".join(failures))

    def _entries(self) -> list[Entry]:
        return [entry for pod in self._cache.pods() if (entry := self._cache.read(pod)) is not None]

    def _agree(self, live_pods: set[str]) -> tuple[list[Entry], list[str]]:
        """Whose entries are left, and what failed."""
        entries = self._entries()
        needs = [self._needs(entry) for entry in entries if entry.pod in live_pods and entry.result is not None]
        self.firewall.restore(
            [port for ports, _ in needs for port in ports], [one for _, segments in needs for one in segments]
        )
        failures = []
        for pod in self._cache.pods():
            if pod not in live_pods:
                try:
                    self.detach(pod)
                except CribusError as error:
                    failures.append(error.message)
        known = {entry.pod: entry for entry in entries}
        left = (known.get(pod) or self._cache.read(pod) for pod in self._cache.pods())  # some may have come meanwhile
        entries = [entry for entry in left if entry is not None]
        self._delete_links({entry.host_link for entry in entries})
        return entries, failures

    def _collect(self, entries: list[Entry]) -> list[str]:
        """CNI's GC of every network that there is: the node's own default, today's, those that pods still have.
        What failed."""
        networks = {self._default().name: self._default()}
        for entry in entries:
            if entry.network["name"] not in networks:
                networks[entry.network["name"]] = entry.network_list()
        failures = []
        try:
            today = self._network()
            networks[today.name] = today
        except CribusError as error:
            failures.append(error.message)
        for name, network in networks.items():
            valid = [(one.pod, one.interface) for one in entries if one.network["name"] == name]
            try:
                self._chain.collect(network, valid)
            except CribusError as error:
                failures.append(error.message)
        return failures

    def remove(self) -> None:
        """Detach every pod and remove tables and the built-in bridge: the node is being taken down. Raises
        Unavailable at its end with what plugins did not do."""
        _, failures = self._agree(set())
        self.firewall.delete()
        with links.Links() as host:
            host.delete(self._settings.bridge)
        if failures:
            raise Unavailable("; ".join(failures))

    def stats(self, netns: str) -> dict[str, dict[str, int]]:
        """Counters by interface, without lo: rx_bytes, tx_bytes, rx_errors, tx_errors and the like."""
        with links.opened(netns) as fd:
            found = within(fd, _all_links)
        return {link.name: link.counters for link in found if link.name != "lo"}

    def _note(self, entry: Entry, result: dict[str, Any]) -> None:
        entry.partial = result
        self._cache.write(entry)

    def _network(self) -> config.NetworkList:
        return config.load(self._settings.conf_dir) or self._default()

    def _default(self) -> config.NetworkList:
        return config.default(self._settings.bridge, self._subnet, self._addresses)

    def _capabilities(self, pod: Pod) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "portMappings": pod.ports,
            "bandwidth": bandwidth(pod.annotations),
            "dns": pod.dns,
            "ipRanges": self._ranges,
            "cgroupPath": pod.cgroup,
            "io.kubernetes.cri.pod-annotations": pod.annotations,
        }
        return {name: value for name, value in wanted.items() if value}

    def _needs(self, entry: Entry) -> tuple[list[HostPort], list[Segment]]:
        return self._chain.needs(entry.network_list(), _call(entry, entry.netns), entry.result or {})

    def _delete_links(self, wanted: set[str]) -> None:
        with links.Links() as host:
            for link in host.all():
                if link.name.startswith(self._prefix) and link.name not in wanted:
                    host.delete(link.name)


def open_network(settings: Settings, root: str) -> Network:
    """The node's network; `root` is the folder of what must outlive a restart."""
    return Network(settings, root)


def _ranges(subnet: str) -> list[list[dict[str, str]]]:
    """CNI's capability ipRanges."""
    return [[{"subnet": one.strip()}] for one in subnet.split(",") if one]


def _text(path: str) -> str:
    try:
        return files.read(path).decode()
    except FileNotFoundError:
        return ""


def _call(entry: Entry, netns: str) -> Call:
    return Call(entry.pod, netns, entry.interface, entry.args, entry.capabilities, entry.host_link)


def _args(pod: Pod) -> dict[str, str]:
    """CNI_ARGS as the kubelet's plugins know them."""
    return {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": pod.id,
        "K8S_POD_UID": pod.uid,
    }


def _attached(result: dict[str, Any]) -> Attached:
    """The addresses of the pod's own interface, in the plugins' order."""
    try:
        interfaces = result.get("interfaces") or []
        inside = {number for number, one in enumerate(interfaces) if one.get("sandbox") and one["name"] == INTERFACE}
        mine = [one for one in result.get("ips") or [] if one.get("interface", -1) in inside or "interface" not in one]
        ips = [str(ipaddress.ip_interface(one["address"]).ip) for one in mine]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"the CNI plugins' result is none ({error}): {str(result)[:200]}") from error
    if not ips:
        raise FailedPrecondition("the CNI plugins gave the pod no address: correct the network's ipam")
    return Attached(ips, mine[0].get("gateway") or "", INTERFACE, result)


def _all_links() -> list[links.Link]:
    with links.Links() as inside:
        return inside.all()
