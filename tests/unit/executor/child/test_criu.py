import os
from pathlib import Path

import pytest
from cribus.executor.child import criu
from cribus.linux import mount, namespaces


def answered(argv: list[str], join: list[list[object]]) -> bytes:
    read, write = os.pipe()
    at_work = os.open("/dev/null", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        os._exit(criu.dump({"path": argv[0], "argv": argv, "env": {}, "join": join}, [write, at_work]))
    os.close(write)
    os.close(at_work)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as file:
        return file.read()


@pytest.mark.parametrize(("argv", "said"), [(["/bin/true"], b"ready \n"), (["/bin/false"], b""), (["/nowhere"], b"")])
def test_it_says_how_the_program_ended(argv: list[str], said: bytes) -> None:
    assert answered(argv, []) == said


def test_it_is_run_in_those_namespaces() -> None:
    own = os.readlink("/proc/self/ns/uts")
    script = f'test "$(readlink /proc/self/ns/uts)" != "{own}"'
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        os.execv("/bin/sleep", ["sleep", "100"])
    try:
        while os.readlink(f"/proc/{pid}/exe") != os.path.realpath("/bin/sleep"):
            os.sched_yield()
        where = [[f"/proc/{pid}/ns/uts", namespaces.CLONE_NEWUTS]]
        assert answered(["/bin/sh", "-c", script], where) == b"ready \n"
        assert answered(["/bin/sh", "-c", script], []) == b""
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_namespace_that_is_not_there() -> None:
    assert b"error INTERNAL" in answered(["/bin/true"], [["/nowhere", namespaces.CLONE_NEWUTS]])


def test_restore_runs_criu_beside_a_pattern_of_the_container(tmp_path: Path) -> None:
    """A script in criu's place: it sees the bare root and the pattern, and its streams where it looks for them."""
    for name in ("lower/etc", "upper", "work", "rootfs", "pattern", "volume"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "volume" / "file").write_text("text")
    overlay = {"lowerdir": [f"{tmp_path}/lower"], "upperdir": f"{tmp_path}/upper", "workdir": f"{tmp_path}/work"}
    how = {"recursive": True, "early": False, "set": 0, "clear": 0, "deep": [0, 0], "propagation": [], "mapped": None}
    script = f"cat {tmp_path}/pattern/data/file >&11; ls {tmp_path}/rootfs/data {tmp_path}/pattern/proc >&12"
    script += "; grep NoNewPrivs /proc/self/status >&12"
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    request = {
        "path": "/bin/bash",
        "argv": ["bash", "-c", script],
        "env": {"PATH": "/bin:/usr/bin"},
        "join": [],
        "bare": [["propagation", mount.MS_PRIVATE | mount.MS_REC], ["overlay", f"{tmp_path}/rootfs", overlay, []]],
        "mounts": [["bind", f"{tmp_path}/volume", "/data", how], ["filesystem", "proc", "/proc", ["proc", 0, ""]]],
        "readonly": True,
        "no_new_privs": True,
        "mask": [["mask", ["/proc/fs"], ["/proc/sys"]]],
        "inherit": [10, 11, 12],
        "pattern": f"{tmp_path}/pattern",
        "expected": f"{tmp_path}/expected",
        "said": f"{tmp_path}/said",
    }
    pid = os.fork()
    if pid == 0:
        os._exit(criu.restore(request, [null, write, write]))
    os.close(write)
    os.close(null)
    os.waitpid(pid, 0)
    with os.fdopen(read) as file:
        said = file.read()
    assert said.startswith("text")
    assert said.endswith("NoNewPrivs:\t1\n")
    places = [line.split(" ")[4:6] for line in (tmp_path / "expected").read_text().splitlines()]
    below = {place.removeprefix(f"{tmp_path}/pattern"): options for place, options in places if "/pattern" in place}
    assert sorted(below) == ["", "/data", "/proc", "/proc/fs", "/proc/sys"]
    assert (below[""].split(",")[0], below["/proc/sys"].split(",")[0]) == ("ro", "ro")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_restore_that_cannot_be_prepared_says_why(tmp_path: Path) -> None:
    request = {"join": [["cgroups", ["/nowhere/cgroup.procs"]]], "said": f"{tmp_path}/said"}
    pid = os.fork()
    if pid == 0:
        os._exit(criu.restore(request, []))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert "No such file" in (tmp_path / "said").read_text()
