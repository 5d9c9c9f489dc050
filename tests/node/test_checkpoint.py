"""CheckpointContainer on a real node. Where criu works with the host's kernel a container is really written down;
where it does not the call says so, and why. Either way the container goes on as if nothing had been."""

import io
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.cri import Cri, Pod
from tests.harness import Node, until

WORKS = subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
OWN = {"security_context": {"namespace_options": {"pid": "CONTAINER"}}}
COUNTS = "i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 7"


def counting(pod: Pod, before: str = "", **more: Any) -> str:
    return pod.running("sh", "-c", f"{before}{COUNTS}", **{"linux": OWN, **more})


def goes_on(node: Node, box: str) -> None:
    """It writes, it obeys, its numbers are all there and in order, and its exit code is its own."""
    seen = len(node.log_lines(box))
    until(lambda: len(node.log_lines(box)) > seen, 20, "the next line")
    node.crictl("exec", "-s", box, "touch", "/stop")
    assert node.exited(box, 30)["exitCode"] == 7
    lines = node.log_lines(box)
    assert lines == [str(number) for number in range(len(lines))]


def nothing_is_left(node: Node, folder: Path, *there: str) -> None:
    aside = node.root / "checkpoints"
    assert [*aside.iterdir()] == [] if aside.exists() else True
    assert sorted(one.name for one in folder.iterdir()) == sorted(there)


def test_a_container_that_goes_on(cri: Cri, clean: Node, tmp_path: Path) -> None:
    box = counting(cri.pod(), "mkdir /new; echo text > /new/file; rm /bin/vi; ")
    until(lambda: len(clean.log_lines(box)) > 3, 20, "some lines")
    place = tmp_path / "box.tar"
    if not WORKS:
        code, text = cri.refused("CheckpointContainer", container_id=box, location=str(place))
        assert code == "FAILED_PRECONDITION"
        assert "this host cannot checkpoint or restore: criu" in text
        assert "no checkpoints" in clean.cribus("doctor", check=False)
        nothing_is_left(clean, tmp_path)
        goes_on(clean, box)
        return
    cri.call("CheckpointContainer", container_id=box, location=str(place))
    assert "containers can be checkpointed" in clean.cribus("doctor", check=False)
    nothing_is_left(clean, tmp_path, "box.tar")
    goes_on(clean, box)
    with tarfile.open(place) as archive:
        names = archive.getnames()
        wanted = {"config.dump", "spec.dump", "status.dump", "bind.mounts", "dump.log", "stats-dump", "container.log"}
        assert wanted <= set(names)
        assert {"checkpoint/inventory.img", "checkpoint/pstree.img", "checkpoint/descriptors.json"} <= set(names)
        config = json.loads(_content(archive, "config.dump"))
        assert (config["id"], config["runtime"]) == (box, "cribus")
        with tarfile.open(fileobj=io.BytesIO(_content(archive, "rootfs-diff.tar"))) as changes:
            assert _content(changes, "new/file") == b"text\n"
            assert "bin/.wh.vi" in changes.getnames()


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_with_everything_that_kubelet_gives(cri: Cri, clean: Node, tmp_path: Path) -> None:
    """Masks, seccomp, no_new_privs, volumes, several processes, a command that runs meanwhile."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "out").mkdir()
    context = {
        **OWN["security_context"],
        "no_new_privs": True,
        "seccomp": {"profile_type": "RuntimeDefault"},
        "masked_paths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
        "readonly_paths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    }
    mounts = [{"container_path": "/volume", "host_path": str(tmp_path / "volume")}]
    pod = cri.pod()
    box = counting(pod, "(while :; do sleep 1; done) & ", mounts=mounts, linux={"security_context": context})
    command = cri.stub("ExecSync").future(
        cri.request("ExecSync", container_id=box, cmd=["sh", "-c", "sleep 2; echo done"], timeout=60), timeout=60
    )
    until(lambda: "sleep 2" in pod.says(box, "ps"), 20, "the command runs")
    place = tmp_path / "out" / "box.tar"
    if WORKS:
        cri.call("CheckpointContainer", container_id=box, location=str(place))
        nothing_is_left(clean, tmp_path / "out", "box.tar")
    else:
        assert cri.refused("CheckpointContainer", container_id=box, location=str(place))[0] == "FAILED_PRECONDITION"
        nothing_is_left(clean, tmp_path / "out")
    assert command.result().stdout == b"done\n"
    goes_on(clean, box)


def test_what_cannot_be_written_down_goes_on(cri: Cri, clean: Node, tmp_path: Path) -> None:
    pod = cri.pod()
    for box, why in (
        (counting(pod, linux={"security_context": {"namespace_options": {"pid": "POD"}}}), "process namespace"),
        (counting(pod, tty=True), "terminal"),
    ):
        code, text = cri.refused("CheckpointContainer", container_id=box, location=str(tmp_path / "box.tar"))
        assert code == "FAILED_PRECONDITION"
        assert (why if WORKS else "this host cannot") in text
        pod.says(box, "touch", "/stop")
        assert clean.exited(box)["exitCode"] == 7
    nothing_is_left(clean, tmp_path)


def test_wrong_states_and_places(cri: Cri, clean: Node, tmp_path: Path) -> None:
    pod = cri.pod()
    place = str(tmp_path / "box.tar")
    assert cri.refused("CheckpointContainer", container_id="nobody", location=place)[0] == "NOT_FOUND"
    idle = pod.created("sleep", "1000")
    assert cri.refused("CheckpointContainer", container_id=idle, location=place)[0] == "FAILED_PRECONDITION"
    box = counting(pod)
    for wrong in ("", "box.tar", str(tmp_path), str(tmp_path / "nowhere" / "box.tar")):
        assert cri.refused("CheckpointContainer", container_id=box, location=wrong)[0] == "INVALID_ARGUMENT", wrong
    nothing_is_left(clean, tmp_path)
    goes_on(clean, box)
    assert cri.refused("CheckpointContainer", container_id=box, location=place)[0] == "FAILED_PRECONDITION"


def test_services_killed_meanwhile(cri: Cri, clean: Node, tmp_path: Path) -> None:
    """The call is sent again by whoever waits, and the container is not left paused."""
    box = counting(cri.pod())
    for victim in ("executor", "manager"):
        asked = cri.stub("CheckpointContainer").future(
            cri.request("CheckpointContainer", container_id=box, location=str(tmp_path / "box.tar")), timeout=60
        )
        os.kill(clean.services()[victim], signal.SIGKILL)
        error = asked.exception()
        if WORKS:
            assert error is None, error
            assert (tmp_path / "box.tar").exists()
        else:
            assert error is not None
            assert error.code().name == "FAILED_PRECONDITION", error
    goes_on(clean, box)
