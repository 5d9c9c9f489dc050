"""No process and no thread can be made any more: a limit around the node's own services."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.cri import Cri
from tests.harness import Node, until

# the last two: it had been started by the first try; no shim could be made
CODES = ("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNAVAILABLE")
SERVICES = ("images", "executor", "shimd", "manager", "gateway")


def _tree(pid: int) -> list[int]:
    """The process and what it has forked for itself."""
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    mine = [one for one in children if Path(f"/proc/{one}/comm").read_text().strip() == "forkserver"]
    return [pid, *(below for one in mine for below in _tree(one))]


@contextmanager
def exhausted(node: Node, names: tuple[str, ...], spare: int = 0) -> Iterator[None]:
    """While inside, these services together can make `spare` more processes and threads."""
    cgroup = Path(f"/sys/fs/cgroup/pids/{node.tag}-services")
    cgroup.mkdir()
    pids = [one for name, pid in node.services().items() if name in names for one in _tree(pid)]
    homes = {one: _home(one) for one in pids}
    try:
        for one in pids:
            (cgroup / "cgroup.procs").write_text(str(one))
        (cgroup / "pids.max").write_text(str(int((cgroup / "pids.current").read_text()) + spare))
        yield
    finally:
        (cgroup / "pids.max").write_text("max")
        until(lambda: _emptied(cgroup, homes, homes[pids[0]]), 10, "nobody is left in it")
        cgroup.rmdir()


def _emptied(cgroup: Path, homes: dict[int, Path], home: Path) -> bool:
    """Everybody back to where he was, and what they forked meanwhile."""
    for pid in map(int, (cgroup / "cgroup.procs").read_text().split()):
        with suppress(ProcessLookupError):
            (homes.get(pid, home) / "cgroup.procs").write_text(str(pid))
    return not (cgroup / "cgroup.procs").read_text()


def _home(pid: int) -> Path:
    line = next(one for one in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":pids:" in one)
    return Path(f"/sys/fs/cgroup/pids{line.rpartition(':')[2]}")


def _outcome(cri: Cri, method: str, fields: dict[str, Any]) -> tuple[str, str]:
    """The code and the sentence of a call that may succeed: then both are empty."""
    try:
        cri.call(method, seconds=45, **fields)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "", ""


@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_out_of_processes(cri: Cri, clean: Node, spare: int) -> None:
    """Calls fail with a sentence, or succeed, and never hang; what runs goes on; afterwards all is as before."""
    before = clean.services()
    pod = cri.pod()
    box = pod.running("sleep", "1000")
    made = pod.created("sleep", "1000")
    tried: dict[str, dict[str, Any]] = {
        "RunPodSandbox": {},
        "StartContainer": {"container_id": made},
        "ExecSync": {"container_id": box, "cmd": ["true"], "timeout": 10},
    }
    with exhausted(clean, SERVICES, spare):
        for _ in range(2):
            for method, fields in tried.items():
                config = {} if fields else {"config": cri.pod_config()}
                code, words = _outcome(cri, method, {**fields, **config})
                assert code in ("", *CODES), (method, code, words)
        assert box in clean.crictl("ps", "-q").split()
    cri.pod().running("true")
    assert pod.says(box, "echo", "hi") == "hi\n"
    assert clean.services() == before
