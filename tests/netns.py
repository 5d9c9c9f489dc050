"""Network namespaces for tests, gone with them."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MakeNamespace = Callable[[], str]


@contextmanager
def namespaces(tag: str) -> Iterator[MakeNamespace]:
    """Makes network namespaces; answers the path of each."""
    names: list[str] = []

    def make() -> str:
        names.append(f"{tag}n{len(names)}")
        subprocess.run(["ip", "netns", "add", names[-1]], check=True)
        return f"/run/netns/{names[-1]}"

    try:
        yield make
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
