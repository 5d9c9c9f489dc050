"""A container brought back from an archive, on a real node. Where criu works with the host's kernel it goes on where
it was, as any other container; where it does not the call says so, and why. What an archive says that is not true, or
more than the request gives, is refused either way."""

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cri import Cri, Pod
from tests.harness import IMAGE, Node, until

WORKS = subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
COUNTS = "i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 7"
CONTEXT = {
    "namespace_options": {"pid": "CONTAINER"},
    "no_new_privs": True,
    "seccomp": {"profile_type": "RuntimeDefault"},
    "capabilities": {"drop_capabilities": ["NET_RAW"]},
    "masked_paths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
    "readonly_paths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
}


def config(folder: Path, **context: Any) -> dict[str, Any]:
    (folder / "volume").mkdir(exist_ok=True)
    (folder / "file").touch()
    mounts = [
        {"container_path": "/volume", "host_path": str(folder / "volume")},
        {"container_path": "/file", "host_path": str(folder / "file"), "readonly": True},
    ]
    return {"mounts": mounts, "linux": {"security_context": {**CONTEXT, **context}}}


def archive(cri: Cri, pod: Pod, folder: Path, **more: Any) -> str:
    """A container that has counted to some number, in an archive; it goes on, and ends."""
    script = f"mkdir /new; echo text > /new/file; rm /bin/vi; sleep 1000 & {COUNTS}"
    box = pod.running("sh", "-c", script, **{**config(folder), **more})
    until(lambda: len(cri.node.log_lines(box)) > 5, 30, "some lines")
    place = str(folder / "box.tar")
    cri.call("CheckpointContainer", container_id=box, location=place)
    cri.call("RemoveContainer", container_id=box)
    return place


def rewritten(place: str, change: Callable[[str, bytes], bytes | None], **added: bytes) -> str:
    """The archive with other content."""
    other = f"{place}.other"
    with tarfile.open(place) as old, tarfile.open(other, "w") as new:
        for info in old:
            file = old.extractfile(info)
            data = change(info.name, file.read()) if file else b""
            if data is not None:
                info.size = len(data) if file else 0
                new.addfile(info, io.BytesIO(data))
        for name, data in added.items():
            info = tarfile.TarInfo(f"checkpoint/{name}.img")
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return other


def no_criu(cri: Cri, pod: Pod, folder: Path) -> None:
    """The other branch: a host that cannot bring anything back."""
    place = folder / "box.tar"
    with tarfile.open(place, "w"):
        pass
    code, text = pod.refused("sh", image={"image": str(place)})
    assert code == "FAILED_PRECONDITION"
    assert "this host cannot checkpoint or restore: criu" in text
    assert cri.call("ListContainers").containers == []


def test_it_goes_on_where_it_was(cri: Cri, clean: Node, tmp_path: Path) -> None:
    pod = cri.pod()
    if not WORKS:
        no_criu(cri, pod, tmp_path)
        return
    place = archive(cri, pod, tmp_path)
    pod.remove()
    other = cri.pod()
    box = other.running(image={"image": place}, **config(tmp_path))
    until(lambda: len(clean.log_lines(box)) > 5, 30, "it counts")
    lines = clean.log_lines(box)
    first = int(lines[0])
    assert first > 5
    assert lines == [str(first + number) for number in range(len(lines))]
    assert other.says(box, "cat", "/new/file") == "text\n"
    assert other.says(
        box, "sh", "-c", "ls /bin/vi 2>/dev/null; hostname; cat /proc/sys/kernel/ns_last_pid >/dev/null && echo x"
    )
    told = other.says(box, "grep", "-E", "NoNewPrivs|^Seccomp:|CapBnd", "/proc/1/status").split()
    assert (told[3], told[5]) == ("1", "2")
    assert not int(told[1], 16) & 1 << 13  # NET_RAW
    assert cri.call("ContainerStats", container_id=box).stats.memory.working_set_bytes.value > 0
    os.kill(clean.shim(other.id), signal.SIGKILL)
    os.kill(clean.keeper(box), signal.SIGKILL)
    os.kill(clean.services()["executor"], signal.SIGKILL)
    seen = len(clean.log_lines(box))
    until(lambda: len(clean.log_lines(box)) > seen, 30, "it goes on")
    other.says(box, "touch", "/stop")
    assert clean.exited(box, 30)["exitCode"] == 7
    lines = clean.log_lines(box)
    assert lines == [str(first + number) for number in range(len(lines))]
    assert [*(clean.root / "restores").iterdir()] == []


def test_it_can_be_written_down_again_and_stopped(cri: Cri, clean: Node, tmp_path: Path) -> None:
    pod = cri.pod()
    if not WORKS:
        no_criu(cri, pod, tmp_path)
        return
    place = archive(cri, pod, tmp_path)
    box = pod.running(image={"image": place}, **config(tmp_path))
    again = str(tmp_path / "again.tar")
    cri.call("CheckpointContainer", container_id=box, location=again)
    cri.call("StopContainer", container_id=box, timeout=0)
    assert clean.status(box)["exitCode"] == 137
    second = pod.running(image={"image": again}, **config(tmp_path))
    until(lambda: len(clean.log_lines(second)) > 2, 30, "it counts")
    pod.created(image={"image": place}, **config(tmp_path))  # and one that is never started leaves nothing either


def test_from_an_image(cri: Cri, clean: Node, tmp_path: Path) -> None:
    """As buildah makes one of an archive: its one layer is the archive, an annotation says so."""
    pod = cri.pod()
    if not WORKS:
        no_criu(cri, pod, tmp_path)
        return
    place = archive(cri, pod, tmp_path)
    layout = tmp_path / "layout.tar"
    _image(Path(place), layout)
    clean.cribus("load", str(layout))
    box = pod.running(image={"image": "localhost/checkpoint:latest"}, **config(tmp_path))
    until(lambda: len(clean.log_lines(box)) > 2, 30, "it counts")
    assert clean.status(box)["imageId"] == cri.call("ImageStatus", image={"image": IMAGE}).image.id
    clean.crictl("rmi", "localhost/checkpoint:latest")


def _image(archive: Path, layout: Path) -> None:
    layer = archive.read_bytes()
    blobs: list[tuple[str, bytes]] = []

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        blobs.append((hashlib.sha256(data).hexdigest(), data))
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{blobs[-1][0]}", "size": len(data)}

    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    body = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(body).encode(), "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar")],
        "annotations": {"org.criu.checkpoint.container.name": "box"},
    }
    name = {"io.containerd.image.name": "localhost/checkpoint:latest"}
    described = {**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": name}
    files = {f"blobs/sha256/{one}": data for one, data in blobs}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    with tarfile.open(layout, "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_what_the_request_does_not_give(cri: Cri, clean: Node, tmp_path: Path) -> None:
    """The archive's container was more than this request allows, in each of these ways."""
    pod = cri.pod()
    if not WORKS:
        no_criu(cri, pod, tmp_path)
        return
    place = archive(cri, pod, tmp_path)
    given = config(tmp_path)
    demands: list[tuple[dict[str, Any], str]] = [
        ({"capabilities": {"drop_capabilities": ["ALL"]}}, "seccomp|capabilities"),
        ({"run_as_user": {"value": 1000}}, "runs as user 0"),
        ({"masked_paths": ["/proc/timer_list", "/proc/kcore"]}, "lacks what the request|which the request has not"),
        ({"readonly_rootfs": True}, "mounted at /"),
        ({"seccomp": {"profile_type": "Unconfined"}, "no_new_privs": False}, ""),
    ]
    for more, why in demands:
        box = pod.created(image={"image": place}, **config(tmp_path, **more))
        if not why:
            cri.call("StartContainer", container_id=box)  # less than before is no harm
            continue
        code, text = cri.refused("StartContainer", container_id=box)
        assert code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT")
        assert any(one in text for one in why.split("|")), text
    writable = [given["mounts"][0], {**given["mounts"][1], "readonly": False}]
    box = pod.created(image={"image": place}, **{**given, "mounts": writable})
    code, text = cri.refused("StartContainer", container_id=box)
    assert code == "FAILED_PRECONDITION"
    assert "/file" in text
    code, text = pod.refused(image={"image": place}, **{**given, "mounts": given["mounts"][:1]})
    assert (code, "/file" in text) == ("INVALID_ARGUMENT", True)


def test_archives_that_lie(cri: Cri, clean: Node, tmp_path: Path) -> None:
    pod = cri.pod()
    if not WORKS:
        no_criu(cri, pod, tmp_path)
        return
    place = archive(cri, pod, tmp_path)

    def without(gone: str) -> Callable[[str, bytes], bytes | None]:
        return lambda name, data: None if name == gone else data

    def instead(of: str, new: bytes) -> Callable[[str, bytes], bytes | None]:
        return lambda name, data: new if name == of else data

    def same(name: str, data: bytes) -> bytes:
        return data

    for wrong in (
        rewritten(place, without("config.dump")),
        rewritten(place, instead("config.dump", b"[]")),
        rewritten(place, instead("config.dump", b"{")),
        rewritten(place, instead("spec.dump", b"{" * 100_000)),
        rewritten(place, instead("rootfs-diff.tar", b"no tar at all" * 100)),
    ):
        code, _ = pod.refused(image={"image": wrong}, **config(tmp_path))
        assert code in ("INVALID_ARGUMENT", "DATA_LOSS")
    code, text = pod.refused(
        image={"image": rewritten(place, instead("config.dump", b'{"rootfsImage": "localhost/none:1"}'))}
    )
    assert (code, "localhost/none:1" in text) == ("NOT_FOUND", True)
    for wrong in (
        rewritten(place, without("checkpoint/descriptors.json")),
        rewritten(place, instead("checkpoint/descriptors.json", b'["/etc/passwd", "/etc/shadow", "/etc/shadow"]')),
        rewritten(place, same, **{"binfmt-misc": b"x"}),
        rewritten(place, instead("checkpoint/inventory.img", b"")),
        rewritten(place, instead("checkpoint/seccomp.img", b"\x19CVTI0Ad\0\0\0\0")),
        rewritten(place, without("checkpoint/ids-1.img")),
        rewritten(place, instead("checkpoint/core-1.img", b"x" * 5000)),
        rewritten(place, without("checkpoint/pages-1.img")),
    ):
        box = pod.created(image={"image": wrong}, **config(tmp_path))
        code, text = cri.refused("StartContainer", container_id=box)
        assert code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"), text
        cri.call("RemoveContainer", container_id=box)


@pytest.mark.parametrize("name", ["", "/nowhere/box.tar"])
def test_no_archive(cri: Cri, clean: Node, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.tar").touch()
    code, _ = cri.pod().refused("sh", image={"image": name or str(tmp_path / "empty.tar")})
    assert code in (("INVALID_ARGUMENT", "NOT_FOUND") if WORKS else ("FAILED_PRECONDITION",))
