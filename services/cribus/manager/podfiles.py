"""The small files in a pod's run directory that its containers see: hostname, hosts, resolv.conf."""

import os

from cribus.api.cri.sandbox import DNSConfig
from cribus.errors import InvalidArgument

_MOST_SERVERS = 3  # resolver(5), MAXNS
_LOCAL = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def write_atomic(path: str, data: bytes, mode: int = 0o644) -> None:
    """By rename: a reader sees the old file or the new one, never a part."""
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.rename(temporary, path)


def write(folder: str, hostname: str, dns: DNSConfig | None) -> None:
    """hostname and resolv.conf, which need no address. The folder is made if it is not there."""
    os.makedirs(folder, 0o711, exist_ok=True)
    write_atomic(f"{folder}/hostname", f"{hostname}\n".encode())
    write_atomic(f"{folder}/resolv.conf", resolv(dns))


def write_hosts(folder: str, hostname: str, ips: list[str]) -> None:
    """hosts: the pod's addresses by its name, or the host's own file for a pod in its network."""
    if ips:
        lines = "".join(f"{ip}\t{hostname}\n" for ip in ips)
        write_atomic(f"{folder}/hosts", (_LOCAL + lines).encode())
    else:
        write_atomic(f"{folder}/hosts", read("/etc/hosts") or _LOCAL.encode())


def resolv(dns: DNSConfig | None) -> bytes:
    """resolv.conf(5) of the pod's DNS configuration, or of the host when the pod has none.

    Raises InvalidArgument for more name servers than the resolver reads.
    """
    if dns is None or not (dns.servers or dns.searches or dns.options):
        return read("/etc/resolv.conf")
    if len(dns.servers) > _MOST_SERVERS:
        raise InvalidArgument(f"dns_config has {len(dns.servers)} servers; resolvers read at most {_MOST_SERVERS}")
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(f"{line}\n" for line in lines).encode()


def listed(folder: str) -> list[str]:
    """The names in it, sorted; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def read(path: str) -> bytes:
    """Empty where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
