"""Which Rust builds what the tests need: deploy/rust, with programs that stand in for those of a machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TOOLS = ("bash", "cut", "dirname", "grep", "head", "readlink", "sort")


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def _cargo(folder: Path, version: str) -> None:
    _program(folder, "cargo", f"echo 'cargo {version} (of a day)'")


class Machine:
    """Its PATH has nothing of the real one but what the script itself needs. Every package is there already, and that
    one is asked for is noted; `packages` are those that apt knows."""

    def __init__(self, folder: Path, packages: str) -> None:
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.asked = folder / "asked"
        self.asked.touch()
        _program(self.bin, "apt-get", "exit 0")
        _program(self.bin, "apt-cache", f'case " {packages} " in *" $2 "*) exit 0;; esac; exit 100')
        _program(self.bin, "dpkg-query", f"echo $3 >>{self.asked}; echo install ok installed")
        for tool in _TOOLS:
            real = shutil.which(tool)
            assert real, tool
            (self.bin / tool).symlink_to(real)

    def rust(self, *folders: Path) -> "subprocess.CompletedProcess[str]":
        path = ":".join(map(str, (*folders, self.bin)))
        environment = {"PATH": path, "HOME": str(self.home)}
        return subprocess.run([ROOT / "deploy/rust"], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("version", ["1.85.0", "1.95.1", "2.0.0"])
def test_the_first_that_is_new_enough(tmp_path: Path, version: str) -> None:
    machine = Machine(tmp_path, "cargo cargo-web")
    _cargo(tmp_path / "old", "1.66.1")
    _cargo(machine.home / ".cargo/bin", version)
    assert machine.rust(tmp_path / "old").stdout == f"{machine.home}/.cargo/bin\n"
    _cargo(tmp_path / "new", version)
    assert machine.rust(tmp_path / "old", tmp_path / "new").stdout == f"{tmp_path}/new\n"
    assert machine.asked.read_text() == ""


@pytest.mark.parametrize(("known", "wanted"), [("cargo cargo-web", "cargo-web rustc-web"), ("cargo", "cargo")])
def test_debians_where_there_is_none(tmp_path: Path, known: str, wanted: str) -> None:
    machine = Machine(tmp_path, known)
    _cargo(tmp_path / "old", "1.84.9")
    put = f"mkdir -p {tmp_path}/debian; printf '#!/bin/sh\\necho cargo 1.85.0' >{tmp_path}/debian/cargo"
    asking = f"echo $3 >>{machine.asked}; {put}; chmod 755 {tmp_path}/debian/cargo; echo install ok installed"
    _program(machine.bin, "dpkg-query", asking)
    for tool in ("mkdir", "chmod"):
        (machine.bin / tool).symlink_to(os.path.realpath(shutil.which(tool) or tool))
    done = machine.rust(tmp_path / "old", tmp_path / "debian")
    assert (done.stdout, done.stderr) == (f"{tmp_path}/debian\n", "")
    assert machine.asked.read_text().split() == wanted.split()


def test_a_machine_that_has_none_at_all(tmp_path: Path) -> None:
    done = Machine(tmp_path, "cargo").rust()
    assert done.returncode == 1
    assert "no Rust 1.85 or newer; install it" in done.stderr
