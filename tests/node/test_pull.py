"""Pulling from a real registry: what an image holds is what its container sees, and nothing is fetched twice."""

import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.faulty import Front, Rule, stall
from tests.harness import PYTHON, Node, run, until
from tests.registry import PLAIN, ZSTD, Entry, Image, Layer, Registry, architecture, digest, layer, store, tar

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep, revision 2


def leftovers(node: Node) -> dict[str, set[str]]:
    """What lies in the rooms of a pull."""
    return {kind: set(os.listdir(node.root / "images" / kind)) for kind in ("making", "partial", "layers")}


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as out:
        for info, data in members:
            info.size = len(data)
            out.addfile(info, io.BytesIO(data) if data else None)
    return stream.getvalue()


class Inside:
    """A running container of an image, looked at from the host through /proc/<pid>/root."""

    def __init__(self, node: Node, name: str, image: str) -> None:
        self.node = node
        self.pod = node.pod(name)
        self.container = node.container(self.pod, name, "sleep", "1000", image={"image": image})
        pid = node.json("inspect", self.container)["info"]["pid"]
        self.root = Path(f"/proc/{pid}/root")

    def path(self, name: str) -> Path:
        return self.root / name

    def lstat(self, name: str) -> os.stat_result:
        return os.lstat(self.root / name)

    def sh(self, script: str) -> str:
        return self.node.crictl("exec", "-s", self.container, "sh", "-c", script)

    def end(self) -> None:
        self.node.crictl("rmp", "-f", self.pod)


def test_by_tag_and_by_digest(clean: Node, registry: Registry, busybox: Layer) -> None:
    name = registry.push("plain", Image([busybox], {"User": "www-data", "Cmd": ["sh"]}), "v1")
    image = f"{registry.host}/plain"
    clean.crictl("pull", f"{image}:v1")
    clean.crictl("pull", f"{image}@{name}")
    found = clean.json("inspecti", f"{image}:v1")["status"]
    assert found["repoTags"] == [f"{image}:v1"]
    assert found["repoDigests"] == [f"{image}@{name}"]
    assert found["username"] == "www-data"
    assert clean.json("inspecti", f"{image}@{name}")["status"]["id"] == found["id"]
    assert clean.json("inspecti", found["id"][7:20])["status"]["id"] == found["id"]
    assert found["id"] in json.dumps(clean.json("images", "-o", "json"))
    inside = Inside(clean, "by-digest", f"{image}@{name}")
    assert inside.sh("echo $((6 * 7))") == "42"
    inside.end()
    clean.crictl("rmi", found["id"])
    assert found["id"] not in clean.crictl("images", "-o", "json")


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_gives_this_machines_image(
    clean: Node, registry: Registry, busybox: Layer, tmp_path: Path, docker: bool
) -> None:
    repository = f"index-{docker}".lower()
    own = registry.push(repository, Image([busybox], docker=docker))
    other = registry.push(repository, Image([layer(tmp_path, tar([Entry("other")]))], docker=docker))
    index = registry.push_index(repository, {"s390x": other, architecture(): own}, "all", docker=docker)
    image = f"{registry.host}/{repository}"
    clean.crictl("pull", f"{image}:all")
    assert clean.json("inspecti", f"{image}:all")["status"]["repoDigests"] == [f"{image}@{index}"]
    clean.crictl("pull", f"{image}@{index}")
    inside = Inside(clean, repository, f"{image}@{index}")
    inside.end()
    registry.push_index(repository, {"s390x": other}, "foreign", docker=docker)
    answer = clean.try_crictl("pull", f"{image}:foreign")
    assert "code = NotFound" in answer.stderr
    assert "s390x" in answer.stderr
    clean.crictl("rmi", f"{image}:all")


def test_compressions(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    """gzip of several members, zstd of several frames, and none, in one image."""
    plain, packed, one = (tar([Entry(name, name.encode() * 1000)]) for name in ("plain", "zstd", "gzip"))
    zstd = b"".join(zstandard.compress(packed[at : at + 700]) for at in range(0, len(packed), 700))
    members = layer(tmp_path, one[:600]).path.read_bytes() + layer(tmp_path, one[600:]).path.read_bytes()
    layers = [
        busybox,
        store(tmp_path, plain, digest(plain), PLAIN),
        store(tmp_path, zstd, digest(packed), ZSTD),
        store(tmp_path, members, digest(one)),
    ]
    registry.push("compressions", Image(layers), "v1")
    image = f"{registry.host}/compressions:v1"
    clean.crictl("pull", image)
    inside = Inside(clean, "compressions", image)
    for name in ("plain", "zstd", "gzip"):
        assert inside.path(name).read_bytes() == name.encode() * 1000
    inside.end()
    clean.crictl("rmi", image)


def rich() -> bytes:
    """One of everything that a layer may hold."""
    attributes = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"), "SCHILY.xattr.user.note": "hello"}
    long = "/".join(["deep" * 12] * 4) + "/" + "n" * 120
    return archive(
        (member("bin", tarfile.DIRTYPE, mode=0o755), b""),
        (member("bin/tool", mode=0o755, pax_headers=attributes), b"tool"),
        (member("bin/same", tarfile.LNKTYPE, linkname="bin/tool"), b""),
        (member("bin/soft", tarfile.SYMTYPE, linkname="/bin/tool"), b""),
        (member("bin/suid", mode=0o6755, uid=33, gid=44, mtime=1_000_000_000), b"suid"),
        (member("sticky", tarfile.DIRTYPE, mode=0o1777, uid=7, mtime=1_100_000_000), b""),
        (member("sticky/read-only", mode=0o400, uid=70000, gid=80000), b""),
        (member("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3), b""),
        (member("fifo", tarfile.FIFOTYPE, mode=0o600), b""),
        (member(long), b"far away"),
        (member("s" * 150, tarfile.SYMTYPE, linkname="t" * 300), b""),
        (member("größe", mode=0o644), "ä".encode()),
        (member("large", mode=0o600), os.urandom(1 << 20) * 20),
        (member("old/"), b""),
        (member("./dot/./file"), b"dot"),
        (member("/absolute"), b"contained"),
    )


def test_everything_a_layer_may_hold(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    data = rich()
    registry.push("rich", Image([busybox, layer(tmp_path, data)]), "v1")
    image = f"{registry.host}/rich:v1"
    clean.crictl("pull", image)
    inside = Inside(clean, "rich", image)
    tool = inside.lstat("bin/tool")
    assert (tool.st_mode, tool.st_nlink) == (stat.S_IFREG | 0o755, 2)
    assert inside.lstat("bin/same").st_ino == tool.st_ino
    assert os.getxattr(inside.path("bin/tool"), "security.capability") == CAPABILITY
    assert os.getxattr(inside.path("bin/tool"), "user.note") == b"hello"
    assert os.readlink(inside.path("bin/soft")) == "/bin/tool"
    suid = inside.lstat("bin/suid")
    assert (suid.st_mode & 0o7777, suid.st_uid, suid.st_gid, suid.st_mtime) == (0o6755, 33, 44, 1_000_000_000)
    sticky = inside.lstat("sticky")
    assert (sticky.st_mode & 0o7777, sticky.st_uid, sticky.st_mtime) == (0o1777, 7, 1_100_000_000)
    owned = inside.lstat("sticky/read-only")
    assert (owned.st_uid, owned.st_gid, owned.st_mode & 0o7777) == (70000, 80000, 0o400)
    assert inside.lstat("null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(inside.lstat("fifo").st_mode)
    assert (
        inside.sh("cat deep*/deep*/deep*/deep*/n*; cat /größe; cat /dot/file; cat /absolute") == "far awayädotcontained"
    )
    assert len(os.readlink(inside.path("s" * 150))) == 300
    with tarfile.open(fileobj=io.BytesIO(data)) as original:
        file = original.extractfile("large")
        assert file is not None
        expected = hashlib.sha256(file.read()).hexdigest()
    assert inside.sh("sha256sum /large").split()[0] == expected
    assert stat.S_ISDIR(inside.lstat("old").st_mode)
    inside.end()
    clean.crictl("rmi", image)


@pytest.mark.parametrize("form", ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "pax"])
def test_gnu_tar_in_every_format(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path, form: str) -> None:
    """Sparse files and long names as GNU tar writes them."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        for at in range(0, 60 << 20, 2 << 20):  # more holes than one header has room for
            file.seek(at)
            file.write(f"data at {at}".encode() * 500)
        file.truncate(100 << 20)
    (tree / ("l" * 180)).write_text("long")
    plain = subprocess.run(
        ["tar", "-c", "--sparse", *f"--format={form}".split(), "-C", str(tree), "."], capture_output=True, check=True
    ).stdout
    assert len(plain) < 10 << 20
    name = "sparse-" + hashlib.sha256(form.encode()).hexdigest()[:8]
    registry.push(name, Image([busybox, layer(tmp_path, plain)]), "v1")
    image = f"{registry.host}/{name}:v1"
    clean.crictl("pull", image)
    inside = Inside(clean, name, image)
    assert inside.path("sparse").read_bytes() == (tree / "sparse").read_bytes()
    assert inside.lstat("sparse").st_blocks * 512 < 20 << 20
    assert inside.path("l" * 180).read_text() == "long"
    inside.end()
    clean.crictl("rmi", image)


def test_whiteouts_and_opaque_folders(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    lower = tar(
        [
            Entry("tmp", folder=True, mode=0o1777),
            *(Entry(f"{name}/file", b"old") for name in ("gone", "opaque", "again", "implied", "kept")),
            Entry("single", b"old"),
            Entry("replaced", b"old"),
        ]
    )
    upper = tar(
        [
            Entry(".wh.gone"),
            Entry(".wh.single"),
            Entry("opaque", folder=True, mode=0o755),
            Entry("opaque/.wh..wh..opq"),
            Entry("opaque/new", b"new"),
            Entry(".wh.again"),  # taken away, then made anew: nothing of the old may show
            Entry("again", folder=True, mode=0o755),
            Entry("again/new", b"new"),
            Entry(".wh.implied"),
            Entry("implied/new", b"new"),
            Entry("replaced", folder=True, mode=0o755),
            Entry("kept/.wh.other"),
            Entry("kept/new", b"new"),
            Entry(".wh..wh.plnk", b""),
        ]
    )
    layers = [busybox, layer(tmp_path, lower), layer(tmp_path, upper)]
    registry.push("whiteouts", Image(layers), "v1")
    image = f"{registry.host}/whiteouts:v1"
    clean.crictl("pull", image)
    inside = Inside(clean, "whiteouts", image)
    listing = inside.sh("cd /; for d in opaque again implied replaced kept; do echo $d $(ls $d); done")
    assert listing.splitlines() == ["opaque new", "again new", "implied new", "replaced", "kept file new"]
    assert not {"gone", "single"} & set(os.listdir(inside.root))
    assert not [name for name in os.listdir(inside.root) if name.startswith(".wh.")]
    inside.end()
    clean.crictl("rmi", image)


def test_what_a_layer_leaves_to_those_below(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    """Folders that only a lower layer describes keep its description; a hard link may go down there."""
    lower = archive(
        (member("tmp", tarfile.DIRTYPE, mode=0o1777), b""),
        (member("data", tarfile.DIRTYPE, mode=0o750, uid=5, gid=6), b""),
        (member("data/file", mode=0o640, uid=5), b"lower"),
    )
    upper = archive(
        (member("tmp/new"), b"new"),
        (member("data/deep/new"), b"new"),
        (member("linked", tarfile.LNKTYPE, linkname="data/file"), b""),
    )
    registry.push("below", Image([busybox, layer(tmp_path, lower), layer(tmp_path, upper)]), "v1")
    image = f"{registry.host}/below:v1"
    clean.crictl("pull", image)
    inside = Inside(clean, "below", image)
    assert inside.lstat("tmp").st_mode & 0o7777 == 0o1777
    data = inside.lstat("data")
    assert (data.st_mode & 0o7777, data.st_uid, data.st_gid) == (0o750, 5, 6)
    assert inside.lstat("data/deep").st_mode & 0o7777 == 0o755
    assert (inside.path("linked").read_text(), inside.lstat("linked").st_uid) == ("lower", 5)
    inside.end()
    clean.crictl("rmi", image)


def test_a_shared_layer_is_fetched_once_and_goes_last(
    clean: Node, registry: Registry, faulty: Front, tmp_path: Path
) -> None:
    before = leftovers(clean)
    names = ("shared", "first", "second")
    shared, *own = (layer(tmp_path, tar([Entry(name, os.urandom(1000))])) for name in names)
    for name, one in zip(("first", "second"), own, strict=True):
        registry.push(f"shares-{name}", Image([shared, one]), "v1")
    images = [f"{faulty.host}/shares-{name}:v1" for name in ("first", "second")]
    pulls = [threading.Thread(target=clean.crictl, args=("pull", image)) for image in (*images, *images)]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join()
    asked = [path.rpartition("/")[2] for path, _ in faulty.blobs()]
    assert [asked.count(one.digest) for one in (shared, *own)] == [1, 1, 1]
    assert len(leftovers(clean)["layers"] - before["layers"]) == 3
    clean.crictl("rmi", images[0])
    assert len(leftovers(clean)["layers"] - before["layers"]) == 2
    clean.crictl("rmi", clean.json("inspecti", images[1])["status"]["id"])
    assert leftovers(clean)["layers"] <= before["layers"]
    for one in (shared, *own):
        assert not (clean.root / "images/blobs/sha256" / one.digest[7:]).exists()


def test_a_layer_in_use_outlives_its_image(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    extra = layer(tmp_path, tar([Entry("mine", os.urandom(1000).hex().encode())]))
    registry.push("in-use", Image([busybox, extra]), "v1")
    image = f"{registry.host}/in-use:v1"
    clean.crictl("pull", image)
    before = leftovers(clean)
    inside = Inside(clean, "in-use", image)
    clean.crictl("rmi", image)
    assert leftovers(clean) == before
    assert len(inside.sh("cat /mine")) == 2000
    inside.end()
    clean.crictl("pull", image)
    clean.crictl("rmi", image)
    assert extra.diff_id[7:] not in leftovers(clean)["layers"]


def test_killed_in_the_middle_a_pull_goes_on_where_it_was(
    clean: Node, registry: Registry, faulty: Front, tmp_path: Path
) -> None:
    small = layer(tmp_path, tar([Entry("small", os.urandom(1000))]))
    large = layer(tmp_path, tar([Entry("large", os.urandom(8 << 20))]))
    registry.push("killed", Image([small, large]), "v1")
    image = f"{faulty.host}/killed:v1"
    faulty.rules = [Rule(large.digest, stall(6 << 20), 1)]
    pulling = threading.Thread(target=clean.try_crictl, args=("pull", image))
    pulling.start()
    assert faulty.stalled.wait(20)
    layers = clean.root / "images" / "layers"
    until(lambda: (layers / small.diff_id[7:]).exists(), 10, "the small layer is there")
    partial = clean.root / "images" / "partial" / large.digest[7:]
    until(lambda: partial.exists() and partial.stat().st_size > 5 << 20, 10, "the large one has begun")
    os.kill(clean.services()["images"], signal.SIGKILL)
    pulling.join()
    faulty.released.set()
    until(lambda: clean.try_crictl("pull", image).returncode == 0, 30, "the next pull succeeds")
    asked = [wanted for path, wanted in faulty.blobs() if large.digest in path]
    assert asked[0] == ""
    assert len(asked) > 1
    assert all(int(wanted.removeprefix("bytes=").rstrip("-")) > 5 << 20 for wanted in asked[1:])
    assert len([path for path, _ in faulty.blobs() if small.digest in path]) == 1
    clean.crictl("rmi", image)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_is_replaced(clean: Node, registry: Registry, faulty: Front, tmp_path: Path) -> None:
    """The very pull that it worked for succeeds, and fetches the rest alone."""
    large = layer(tmp_path, tar([Entry("large", os.urandom(8 << 20))]))
    registry.push("worker", Image([large]), "v1")
    image = f"{faulty.host}/worker:v1"
    faulty.rules = [Rule(large.digest, stall(6 << 20), 1)]
    answers: list[int] = []
    pulling = threading.Thread(target=lambda: answers.append(clean.try_crictl("pull", image).returncode))
    pulling.start()
    assert faulty.stalled.wait(20)
    partial = clean.root / "images" / "partial" / large.digest[7:]
    until(lambda: partial.exists() and partial.stat().st_size > 5 << 20, 10, "the layer has begun")
    [server] = children(clean.services()["images"])
    [worker] = children(server)
    os.kill(worker, signal.SIGKILL)
    faulty.released.set()
    pulling.join()
    assert answers == [0]
    asked = [wanted for path, wanted in faulty.blobs() if large.digest in path]
    assert len(asked) > 1
    assert all(int(wanted.removeprefix("bytes=").rstrip("-")) > 5 << 20 for wanted in asked[1:])
    clean.crictl("rmi", image)


def test_a_stop_waits_for_no_registry(registry: Registry, faulty: Front, clean: Node, tmp_path: Path) -> None:
    """A service that is told to stop while a registry says nothing is back at once."""
    large = layer(tmp_path, tar([Entry("large", os.urandom(8 << 20))]))
    registry.push("stalled", Image([large]), "v1")
    image = f"{faulty.host}/stalled:v1"
    faulty.rules = [Rule(large.digest, stall(6 << 20), 1)]
    pulling = threading.Thread(target=clean.try_crictl, args=("pull", image))
    pulling.start()
    assert faulty.stalled.wait(20)
    pid = clean.services()["images"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: clean.services()["images"] not in (0, pid), 10, "another process serves")
    pulling.join()
    until(lambda: clean.try_crictl("pull", image).returncode == 0, 20, "the pull succeeds")
    clean.crictl("rmi", image)


def test_save_and_load(clean: Node, registry: Registry, busybox: Layer, tmp_path: Path) -> None:
    """Out as a tar that is an OCI layout and a docker archive; in again as a tar, as a folder, as docker's."""
    registry.push("saved", Image([busybox, layer(tmp_path, tar([Entry("mine", b"mine")]))]), "v1")
    image = f"{registry.host}/saved:v1"
    clean.crictl("pull", image)
    original = clean.json("inspecti", image)["status"]
    file = tmp_path / "saved.tar"
    clean.cribus("save", image, "-o", str(file))
    folder = tmp_path / "layout"
    with tarfile.open(file) as packed:
        packed.extractall(folder)
    docker = tmp_path / "docker.tar"
    with tarfile.open(docker, "w") as out:
        for path in sorted(folder.rglob("*")):
            if path.name not in ("index.json", "oci-layout"):
                out.add(path, str(path.relative_to(folder)), recursive=False)
    for source in (file, folder, docker):
        clean.crictl("rmi", image)
        assert clean.try_crictl("inspecti", image).returncode != 0
        clean.cribus("load", str(source))
        again = clean.json("inspecti", image)["status"]
        assert (again["id"], again["repoTags"]) == (original["id"], original["repoTags"])
        inside = Inside(clean, f"loaded-{source.name}".replace(".", "-"), image)
        assert inside.sh("cat /mine") == "mine"
        inside.end()
    clean.crictl("rmi", image)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "cannot be read" in run_load(clean, file)


def run_load(node: Node, path: Path) -> str:
    """What `cribus load` complains about."""
    done = run(PYTHON, "-m", "cribus.cli", "load", str(path), env=node.env)
    assert done.returncode != 0
    return done.stderr
