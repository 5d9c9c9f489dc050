"""No descriptor is left to one of the node's services, or to what it forks from."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cri import Cri
from tests.harness import Node
from tests.node.test_faults_pids import CODES, _outcome, _tree

PARTS = ("gateway", "manager", "executor", "executor fork server", "shimd", "shimd fork server", "shim")


def _pid(node: Node, part: str, pod: str) -> int:
    if part == "shim":
        return node.shim(pod)
    name, _, below = part.partition(" ")
    return _tree(node.services()[name])[1 if below else 0]


@contextmanager
def exhausted(pid: int, spare: int) -> Iterator[None]:
    """While inside, the process can open `spare` more descriptors."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken + spare, hard))
    try:
        yield
    finally:
        if os.path.exists(f"/proc/{pid}"):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("part", PARTS)
def test_out_of_descriptors(cri: Cri, clean: Node, part: str) -> None:
    """Calls fail with a sentence, or succeed, and never hang; what runs goes on; afterwards all is as before."""
    pod = cri.pod()
    box = pod.running("sleep", "1000")
    pid = _pid(clean, part, pod.id)
    for spare in (0, 1, 3, 6):
        made = pod.created("sleep", "1000")
        with exhausted(pid, spare):
            for method, fields in (
                ("RunPodSandbox", {"config": cri.pod_config()}),
                ("StartContainer", {"container_id": made}),
                ("ExecSync", {"container_id": box, "cmd": ["true"], "timeout": 10}),
                ("ContainerStatus", {"container_id": box}),
            ):
                code, words = _outcome(cri, method, fields)
                print(spare, method, code, words)
                # ABORTED: it may have happened; a process that could not read what it was sent is replaced
                assert code in ("", "ABORTED", *CODES), (spare, method, code, words)
        pid = _pid(clean, part, pod.id)
    cri.pod().running("true")
    assert pod.says(box, "echo", "hi") == "hi\n"
