"""The host went down: nothing runs, no mount, namespace or cgroup is left. What is on disk is of the boot before."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import harness
from tests.harness import Node, run, until


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Node]:
    """A node of its own: its bridge and table go with the boot."""
    with harness.node(tmp_path) as one:
        yield one


def boot(node: Node) -> None:
    """Everything of the node ends that does not outlive a boot; the run directory stays, as if it were on a disk."""
    until(lambda: _all_killed(node), 30, "no process of it is left")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if node.tag in line]
    for path in sorted(mounts, reverse=True):
        run("umount", "-l", path)
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        for folder in sorted((hierarchy / node.tag).rglob("*"), key=lambda path: -len(path.parts)):
            if folder.is_dir():
                folder.rmdir()
        with suppress(FileNotFoundError):
            (hierarchy / node.tag).rmdir()
    run("ip", "link", "delete", node.tag)
    for family in ("ip", "ip6", "inet"):
        run("nft", "delete", "table", family, node.tag)


def _all_killed(node: Node) -> bool:
    """Kill what there is, the guard first, which would start it again: whether nothing was left."""
    mark = f"CRIBUS_CONFIG={node.config}".encode()
    ours = [int(one.split()[0]) for one in node._pod_processes()]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0") and folder.name != str(os.getpid()):
                ours.append(int(folder.name))
    for pid in sorted(set(ours), key=lambda pid: (b"supervisor.daemon" not in _command(pid), pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not ours


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("run_dir", ["emptied", "stale"])
@pytest.mark.parametrize("records", ["there", "lost"])
def test_after_a_boot(own: Node, run_dir: str, records: str) -> None:
    pod = own.pod("before", port_mappings=[{"container_port": 80, "host_port": 21990}])
    running = own.container(pod, "running", "sleep", "1000")
    exited = own.container(pod, "exited", "sh", "-c", "exit 3")
    own.exited(exited)
    config = own.container_config("created", "sleep", "1000")
    created = own.crictl("create", pod, str(config), str(own.base / "before-pod.json"))
    # The KV follows within 50 ms (docs/decisions/0007-ledger.md), and is what is left where the run directory is not.
    until(lambda: own.records().get(f"containers.{created}") == "created", 10, "the KV has the last record")
    boot(own)
    if run_dir == "emptied":
        shutil.rmtree(own.run_dir)
    if records == "lost":
        shutil.rmtree(own.root / "bus" / "jetstream")
    own.up()
    (seen,) = own.json("pods", "-o", "json")["items"]
    assert (seen["id"], seen["state"]) == (pod, "SANDBOX_NOTREADY")
    ids = {one["id"] for one in json.loads(own.crictl("ps", "-a", "-o", "json"))["containers"]}
    assert ids == {running, exited, created}
    if records == "there" or run_dir == "stale":
        status = own.status(running)
        assert (status["state"], status["exitCode"], status["reason"]) == ("CONTAINER_EXITED", 255, "Unknown")
        assert own.status(exited)["exitCode"] == 3
    assert own.remains()["addresses"] == own.remains()["nft elements"] == own.remains()["mounts"] == []
    assert own.remains()["processes"] == []
    assert own.try_crictl("start", created).returncode != 0
    after = own.pod("after", port_mappings=[{"container_port": 80, "host_port": 21990}])
    again = own.container(after, "after", "sh", "-c", "echo hi; exit 4")
    assert own.exited(again)["exitCode"] == 4
    own.crictl("rm", running, exited, created)
    own.crictl("rmp", "-f", pod, after)
    own.assert_clean()
