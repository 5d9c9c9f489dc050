"""Layers that are many, that have long names, and that an old kernel mounts."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cribus.executor.child import layers
from cribus.linux import mount, namespaces

Fsconfig = Callable[..., None]
Options = Mapping[str, object]
_real: Fsconfig = mount.fsconfig


def without_lowerdir_plus(filesystem: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """As Linux 6.6 has it."""
    if key == "lowerdir+":
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    _real(filesystem, command, key, value)


KERNELS = pytest.mark.parametrize("fsconfig", [_real, without_lowerdir_plus], ids=["new", "old"])


def made(folder: Path, count: int, name: str) -> list[str]:
    """Layers, top first; each has its number, and its word on what they share."""
    found = []
    for number in range(count):
        path = folder / str(number) / name
        path.mkdir(parents=True)
        (path / str(number)).touch()
        (path / "shared").write_text(str(number))
        found.append(str(path))
    return found


def seen(options: Options, fsconfig: Fsconfig) -> list[str]:
    """Names in the overlay, then who is on top; in a process of its own, with a mount namespace of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, " ".join(_looked(options, fsconfig)).encode())
        except OSError as error:
            os.write(write, f"{errno.errorcode[error.errno or 0]} {error.strerror}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as file:
        said = file.read().split()
    os.waitpid(pid, 0)
    return said


def _looked(options: Options, fsconfig: Fsconfig) -> list[str]:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mount.change("/", mount.MS_PRIVATE | mount.MS_REC)
    before = (os.listdir("/proc/self/fd"), Path("/proc/self/mounts").read_text())
    mount.fsconfig = fsconfig
    tree = layers.mounted(dict(options))
    with open(f"/proc/self/fd/{tree}/shared") as file:
        found = [*sorted(os.listdir(f"/proc/self/fd/{tree}")), file.read()]
    os.close(tree)
    after = (os.listdir("/proc/self/fd"), Path("/proc/self/mounts").read_text())
    return found if after == before else ["left", "behind:", repr(after)]


@KERNELS
@pytest.mark.parametrize(
    ("count", "name"),
    [(2, "x"), (2, "n" * 240), (3, "n" * 200 + "/" + "m" * 200), (60, "x"), (60, "n" * 240), (2, "a:b,c\\d" * 30)],
)
def test_all_are_seen_top_first(count: int, name: str, tmp_path: Path, fsconfig: Fsconfig) -> None:
    lower = made(tmp_path, count, name)
    assert seen({"lowerdir": lower}, fsconfig) == [*sorted(map(str, range(count))), "shared", "0"]


@KERNELS
def test_a_writable_one_above(tmp_path: Path, fsconfig: Fsconfig) -> None:
    upper, work = tmp_path / "up,per", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    (upper / "shared").write_text("upper")
    options = {"lowerdir": made(tmp_path, 2, "n" * 240), "upperdir": str(upper), "workdir": str(work)}
    assert seen(options, fsconfig) == ["0", "1", "shared", "upper"]


def test_more_than_an_old_kernel_can_mount_is_said(tmp_path: Path) -> None:
    lower = made(tmp_path, 1, "n" * 240) * 300
    assert " ".join(seen({"lowerdir": lower}, without_lowerdir_plus)) == (
        "E2BIG 300 layers are more than this kernel can mount"
    )


def test_a_layer_that_is_not_there(tmp_path: Path) -> None:
    lower = [*made(tmp_path, 1, "n" * 240), f"{tmp_path}/none/{'n' * 240}"]
    assert seen({"lowerdir": lower}, _real)[0] == "ENOENT"
