"""The security context to the letter, read from inside: /proc/self/status and what the kernel refuses."""

import contextlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.gateway.cri import api_pb2 as pb
from cribus.images import starter
from cribus.images.archive import add_file
from cribus.manager import apparmor, host

from tests.cri import Cri, Pod, stream_status
from tests.harness import Node, run, until

DEFAULT = "00000000a80425fb"  # the 14 capabilities that containers get


def _context(**fields: Any) -> dict[str, Any]:
    return {"linux": {"security_context": fields}}


def _status(pod: Pod, box: str) -> dict[str, str]:
    """Of a process that is executed in the container: the same identity as its first one."""
    lines = pod.says(box, "cat", "/proc/self/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _init(node: Node, box: str) -> dict[str, str]:
    """Of the container's first process, seen from the host."""
    pid = json.loads((node.run_dir / "containers" / box / "state.json").read_text())["pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _fails(pod: Pod, box: str, command: str) -> str:
    answer = pod.cri.call("ExecSync", container_id=box, cmd=["sh", "-c", command], timeout=20)
    assert answer.exit_code != 0, command
    return str(answer.stderr.decode())


ACCOUNTS = "localhost/accounts:1"
_PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
_GROUP = "root:x:0:\nusers:x:1001:\naudio:x:2001:alice,bob\nvideo:x:2002:alice\nothers:x:2003:bob\n"


@pytest.fixture
def accounts(clean: Node, tmp_path: Path) -> dict[str, Any]:
    """An image with people in it, which runs as one of them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_file(tar, "etc/passwd", _PASSWD.encode())
        add_file(tar, "etc/group", _GROUP.encode())
    program = Path("/bin/busybox")
    applets = run(str(program), "--list").stdout.split()
    layers = [starter.pack(one) for one in (starter.layer(program.read_bytes(), applets), buffer.getvalue())]
    starter.write_layout(f"{tmp_path}/image.tar", layers, {"Cmd": ["sh"], "User": "alice"}, ACCOUNTS)
    clean.cribus("load", f"{tmp_path}/image.tar")
    return {"image": {"image": ACCOUNTS}}


@pytest.fixture(scope="module", autouse=True)
def early(node: Node) -> tuple[str, float]:
    """The address of a stream that nobody opens, from before all tests of this file; and when it was given."""
    one = Cri(node)
    pod = one.pod()
    url = str(one.call("Exec", container_id=pod.running(), cmd=["true"], stdout=True).url)
    pod.remove()
    one.close()
    return url, time.monotonic()


class TestIdentity:
    @pytest.mark.parametrize(
        ("asked", "user", "groups"),
        [
            ({}, (1000, 1001), [1001, 2001, 2002]),  # the image's own user, with the groups it is in
            ({"run_as_username": "alice"}, (1000, 1001), [1001, 2001, 2002]),
            ({"run_as_user": {"value": 1000}}, (1000, 1001), [1001, 2001, 2002]),
            (
                {"run_as_user": {"value": 1000}, "run_as_group": {"value": 7}, "supplemental_groups": [2003]},
                (1000, 7),
                [7, 2001, 2002, 2003],
            ),
            ({"run_as_username": "alice", "supplemental_groups_policy": "Strict"}, (1000, 1001), [1001]),
            (
                {"run_as_username": "alice", "supplemental_groups_policy": "Strict", "supplemental_groups": [9]},
                (1000, 1001),
                [9, 1001],
            ),
            ({"run_as_user": {"value": 0}}, (0, 0), [0]),
            ({"run_as_user": {"value": 5555}}, (5555, 0), [0]),
        ],
    )
    def test_users_and_groups_of_the_image(
        self,
        cri: Cri,
        clean: Node,
        accounts: dict[str, Any],
        asked: dict[str, Any],
        user: tuple[int, int],
        groups: list[int],
    ) -> None:
        pod = cri.pod()
        box = pod.running(**accounts, **_context(**asked))
        for seen in (_status(pod, box), _init(clean, box)):
            assert (int(seen["Uid"].split()[0]), int(seen["Gid"].split()[0])) == user
            assert sorted(map(int, seen["Groups"].split())) == groups
        told = cri.call("ContainerStatus", container_id=box).status.user.linux
        assert (told.uid, told.gid, list(told.supplemental_groups)) == (*user, groups)
        pod.remove()

    def test_user_and_group_by_number(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        context = _context(run_as_user={"value": 1234}, run_as_group={"value": 4321}, supplemental_groups=[7, 8])
        box = pod.running(**context)
        for seen in (_status(pod, box), _init(clean, box)):
            assert seen["Uid"].split() == ["1234"] * 4
            assert seen["Gid"].split() == ["4321"] * 4
            assert sorted(map(int, seen["Groups"].split())) == [7, 8, 4321]
            assert seen["CapEff"] == "0" * 16  # no root, no capabilities in effect
        told = cri.call("ContainerStatus", container_id=box).status.user.linux
        assert (told.uid, told.gid, list(told.supplemental_groups)) == (1234, 4321, [7, 8, 4321])

    def test_group_without_user_and_unknown_names_are_refused(self, cri: Cri) -> None:
        pod = cri.pod()
        assert pod.refused(**_context(run_as_group={"value": 1}))[0] == "INVALID_ARGUMENT"
        code, text = pod.refused(**_context(run_as_username="nobody-of-this-name"))
        assert code == "INVALID_ARGUMENT"
        assert "nobody-of-this-name" in text
        assert pod.refused(**_context(run_as_user={"value": -1}))[0] == "INVALID_ARGUMENT"

    def test_no_new_privileges(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        assert _init(clean, pod.running())["NoNewPrivs"] == "0"
        box = pod.running(**_context(no_new_privs=True))
        assert (_init(clean, box)["NoNewPrivs"], _status(pod, box)["NoNewPrivs"]) == ("1", "1")


class TestCapabilities:
    def test_the_usual(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        box = pod.running()
        for seen in (_status(pod, box), _init(clean, box)):
            assert {seen[name] for name in ("CapBnd", "CapEff", "CapPrm")} == {DEFAULT}
            assert {seen[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}

    @pytest.mark.parametrize(
        ("asked", "bounding"),
        [
            ({"add_capabilities": ["NET_ADMIN"]}, int(DEFAULT, 16) | 1 << 12),
            ({"add_capabilities": ["CAP_SYS_ADMIN"], "drop_capabilities": ["CHOWN"]}, int(DEFAULT, 16) ^ 1 | 1 << 21),
            ({"drop_capabilities": ["ALL"]}, 0),
            ({"drop_capabilities": ["ALL"], "add_capabilities": ["KILL"]}, 1 << 5),
        ],
    )
    def test_added_and_dropped(self, cri: Cri, clean: Node, asked: dict[str, Any], bounding: int) -> None:
        pod = cri.pod()
        box = pod.running(**_context(capabilities=asked))
        assert int(_init(clean, box)["CapBnd"], 16) == int(_status(pod, box)["CapEff"], 16) == bounding

    def test_all(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        box = pod.running(**_context(capabilities={"add_capabilities": ["ALL"], "drop_capabilities": ["NET_RAW"]}))
        own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
        assert int(_init(clean, box)["CapEff"], 16) == int(own.split()[1], 16) & ~(1 << 13)

    def test_ambient_ones_survive_without_root(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        asked = {"drop_capabilities": ["ALL"], "add_ambient_capabilities": ["NET_BIND_SERVICE"]}
        box = pod.running(**_context(run_as_user={"value": 1000}, capabilities=asked))
        seen = _init(clean, box)
        assert {int(seen[name], 16) for name in ("CapAmb", "CapEff", "CapInh", "CapPrm")} == {1 << 10}
        assert int(_status(pod, box)["CapEff"], 16) == 1 << 10

    def test_unknown(self, cri: Cri) -> None:
        code, text = cri.pod().refused(**_context(capabilities={"add_capabilities": ["FLY"]}))
        assert code == "INVALID_ARGUMENT"
        assert "FLY" in text

    def test_privileged(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod(linux={"security_context": {"privileged": True}})
        box = pod.running(**_context(privileged=True))
        own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
        assert _init(clean, box)["CapEff"] == own.split()[1]
        assert _init(clean, box)["Seccomp"] == "0"
        assert Path("/dev/fuse").exists() == (pod.says(box, "sh", "-c", "ls /dev/fuse || true") == "/dev/fuse\n")
        pod.says(box, "sh", "-c", "mkdir /x && mount -t tmpfs x /x && touch /proc/sys/net")

    def test_privileged_in_a_pod_that_is_not(self, cri: Cri) -> None:
        code, text = cri.pod().refused(**_context(privileged=True))
        assert (code, "privileged" in text) == ("INVALID_ARGUMENT", True)


class TestSeccomp:
    def test_runtime_default(self, cri: Cri, clean: Node) -> None:
        pod = cri.pod()
        box = pod.running(**_context(seccomp={"profile_type": "RuntimeDefault"}))
        assert _init(clean, box)["Seccomp"] == _status(pod, box)["Seccomp"] == "2"
        assert "Operation not permitted" in _fails(pod, box, "unshare -m true")

    @pytest.mark.parametrize("context", [{"seccomp": {"profile_type": "Unconfined"}}, {}])
    def test_unconfined(self, cri: Cri, clean: Node, context: dict[str, Any]) -> None:
        pod = cri.pod()
        assert _init(clean, pod.running(**_context(**context)))["Seccomp"] == "0"

    def test_a_file_of_the_node(self, cri: Cri, tmp_path: Path) -> None:
        profile = tmp_path / "no-mkdir.json"
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
        profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
        pod = cri.pod()
        local = {"profile_type": "Localhost", "localhost_ref": str(profile)}
        box = pod.running(**_context(seccomp=local))
        assert "not supported" in _fails(pod, box, "mkdir /x")
        missing = {"profile_type": "Localhost", "localhost_ref": f"{tmp_path}/none.json"}
        code, text = pod.refused(**_context(seccomp=missing))
        assert code == "INVALID_ARGUMENT"
        assert "none.json" in text


_SYSCTL = "/proc/sys/kernel/panic_on_oops"
_NO_WRITES = """
profile {name} flags=(attach_disconnected) {{
  file,
  deny /** w,
}}
"""


@contextlib.contextmanager
def _loaded(name: str) -> Iterator[None]:
    subprocess.run(["apparmor_parser", "-r", "-K"], input=_NO_WRITES.format(name=name), text=True, check=True)
    try:
        yield
    finally:
        Path("/sys/kernel/security/apparmor/.remove").write_text(name)


def test_apparmor_is_refused_where_it_is_not_and_confines_where_it_is(cri: Cri) -> None:
    """Where the kernel has it active; elsewhere nobody is confined, and who insists is refused."""
    pod = cri.pod()
    by_default = _context(apparmor={"profile_type": "RuntimeDefault"})
    unconfined = pod.running(**_context(apparmor={"profile_type": "Unconfined"}))
    mine = _context(apparmor={"profile_type": "Localhost", "localhost_ref": f"localhost/{cri.node.tag}-mine"})
    code, text = pod.refused(**mine)
    assert code == "FAILED_PRECONDITION"
    if not host.look().apparmor:
        assert "AppArmor is not enabled" in text
        pod.running(**by_default)
        return
    if not Path(apparmor.LOADED).exists():
        assert "mount securityfs" in text
        assert "mount securityfs" in pod.refused(**by_default)[1]
        pod.running()
        return
    assert "is not loaded" in text
    default = pod.running(**by_default)
    ours = f"{apparmor.NAME} (enforce)"
    for box, label in ((default, ours), (pod.running(), ours), (unconfined, "unconfined")):
        pid = json.loads((cri.node.run_dir / "containers" / box / "state.json").read_text())["pid"]
        assert Path(f"/proc/{pid}/attr/current").read_text().strip() == label
        assert pod.says(box, "cat", "/proc/self/attr/current").strip() == label  # a further process too
    pod.says(default, "sh", "-c", "echo 1 >/x; mkdir /y; cat /proc/$$/status; sleep 1000 & kill $!")
    bold = {"capabilities": {"add_capabilities": ["SYS_ADMIN"]}, "masked_paths": [], "readonly_paths": []}
    free = cri.pod(linux={"security_context": {"privileged": True}})
    for box, denied in ((pod.running(**_context(**bold)), True), (free.running(**_context(privileged=True)), False)):
        for command in ("mkdir -p /mnt && mount -t tmpfs none /mnt", f"was=$(cat {_SYSCTL}) && echo $was >{_SYSCTL}"):
            done = cri.call("ExecSync", container_id=box, cmd=["sh", "-c", command], timeout=30)
            assert (done.exit_code != 0) is denied, (command, done.stderr)
    with _loaded(f"{cri.node.tag}-mine"):
        box = pod.running(**mine)
        assert "Permission denied" in _fails(pod, box, "touch /x")
        pod.says(box, "cat", "/etc/passwd")


class TestPaths:
    def test_masked_and_read_only(self, cri: Cri) -> None:
        pod = cri.pod()
        box = pod.running(**_context(masked_paths=["/proc/keys", "/sys/firmware"], readonly_paths=["/proc/sys"]))
        assert pod.says(box, "sh", "-c", "wc -c </proc/keys; ls /sys/firmware | wc -l").split() == ["0", "0"]
        assert "Read-only" in _fails(pod, box, "echo 1 >/proc/sys/kernel/domainname")

    def test_the_usual_ones_without_a_context_and_none_when_it_is_empty(self, cri: Cri) -> None:
        pod = cri.pod()
        usual = pod.running()
        assert "Read-only" in _fails(pod, usual, "echo 1 >/proc/sys/net/ipv4/ip_forward")
        unmasked = pod.running(**_context(masked_paths=[], readonly_paths=[]))
        assert "not permitted" in _fails(pod, unmasked, "echo 1 >/proc/sys/net/ipv4/ip_forward")  # by capability

    def test_read_only_root(self, cri: Cri) -> None:
        pod = cri.pod()
        box = pod.running(**_context(readonly_rootfs=True))
        assert "Read-only" in _fails(pod, box, "touch /x")
        pod.says(box, "sh", "-c", "touch /dev/shm/x /dev/x")

    def test_read_only_mounts_and_all_below_them(self, cri: Cri, tmp_path: Path) -> None:
        below = tmp_path / "below"
        below.mkdir()
        assert run("mount", "-t", "tmpfs", cri.node.tag, str(below)).returncode == 0
        try:
            pod = cri.pod()
            plain = {"host_path": str(tmp_path), "container_path": "/plain", "readonly": True}
            deep = {**plain, "container_path": "/deep", "recursive_read_only": True}
            box = pod.running(mounts=[plain, deep])
            assert "Read-only" in _fails(pod, box, "touch /plain/x")
            pod.says(box, "touch", "/plain/below/x")
            for path in ("/deep/x", "/deep/below/y"):
                assert "Read-only" in _fails(pod, box, f"touch {path}")
            pod.remove()
        finally:
            run("umount", str(below))


class TestSysctls:
    def test_of_its_own_namespaces(self, cri: Cri) -> None:
        pod = cri.pod(linux={"sysctls": {"net.ipv4.ip_local_port_range": "20000 30000", "kernel.shm_rmid_forced": "1"}})
        box = pod.running()
        seen = pod.says(
            box, "cat", "/proc/sys/net/ipv4/ip_local_port_range", "/proc/sys/kernel/shm_rmid_forced"
        ).split()
        assert seen == ["20000", "30000", "1"]

    @pytest.mark.parametrize(
        ("sysctl", "options"),
        [
            ("kernel.panic", {}),
            ("vm.swappiness", {}),
            ("net.ipv4.ip_forward", {"network": "NODE"}),
            ("kernel.msgmax", {"ipc": "NODE"}),
        ],
    )
    def test_of_the_host_are_refused(self, cri: Cri, sysctl: str, options: dict[str, str]) -> None:
        linux = {"sysctls": {sysctl: "1"}, "security_context": {"namespace_options": options}}
        code, text = cri.refused("RunPodSandbox", config=cri.pod_config(linux=linux))
        assert code == "INVALID_ARGUMENT"
        assert sysctl in text


def _namespace(pod: Pod, box: str, kind: str) -> str:
    return pod.says(box, "readlink", f"/proc/self/ns/{kind}").strip()


def _of_host(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


class TestNamespaces:
    def test_shared_by_the_pod(self, cri: Cri) -> None:
        pod = cri.pod()
        one, two = pod.running(), pod.running()
        for kind in ("net", "ipc", "uts", "pid"):
            assert _namespace(pod, one, kind) == _namespace(pod, two, kind) != _of_host(kind)
        assert _namespace(pod, one, "mnt") != _namespace(pod, two, "mnt")

    def test_a_pid_namespace_each(self, cri: Cri) -> None:
        modes = {"security_context": {"namespace_options": {"pid": "CONTAINER"}}}
        pod = cri.pod(linux=modes)
        one, two = pod.running(linux=modes), pod.running(linux=modes)
        assert _namespace(pod, one, "pid") != _namespace(pod, two, "pid")
        assert pod.says(one, "cat", "/proc/1/comm") == "sleep\n"

    def test_that_of_another_container(self, cri: Cri) -> None:
        modes = {"security_context": {"namespace_options": {"pid": "CONTAINER"}}}
        pod = cri.pod(linux=modes)
        target = pod.running("sleep", "4711", linux=modes)
        debug = {"security_context": {"namespace_options": {"pid": "TARGET", "target_id": target}}}
        box = pod.running(linux=debug)
        assert _namespace(pod, box, "pid") == _namespace(pod, target, "pid")
        assert "4711" in pod.says(box, "cat", "/proc/1/cmdline")
        cri.call("StopContainer", container_id=target)
        assert pod.refused(linux=debug)[0] == "FAILED_PRECONDITION"

    def test_those_of_the_host(self, cri: Cri) -> None:
        modes = {"security_context": {"namespace_options": {"network": "NODE", "pid": "NODE", "ipc": "NODE"}}}
        pod = cri.pod(linux=modes)
        box = pod.running(linux=modes)
        for kind in ("net", "ipc", "uts", "pid"):
            assert _namespace(pod, box, kind) == _of_host(kind)
        assert cri.call("PodSandboxStatus", pod_sandbox_id=pod.id).status.linux.namespaces.options.network == 2

    def test_a_container_cannot_be_what_its_pod_is_not(self, cri: Cri) -> None:
        pod = cri.pod()
        for kind in ("network", "pid", "ipc"):
            code, text = pod.refused(**_context(namespace_options={kind: "NODE"}))
            assert code == "INVALID_ARGUMENT"
            assert kind in text


IDS = {"host_id": 200_000, "container_id": 0, "length": 65_536}


def _users(**modes: str) -> dict[str, Any]:
    return {
        "security_context": {
            "namespace_options": {**modes, "userns_options": {"mode": "POD", "uids": [IDS], "gids": [IDS]}}
        }
    }


class TestUserNamespace:
    @pytest.mark.parametrize("modes", [{}, {"network": "NODE"}], ids=["own network", "host network"])
    def test_root_inside_is_nobody_outside(self, cri: Cri, clean: Node, tmp_path: Path, modes: dict[str, str]) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "of-root").write_text("secret")
        (tmp_path / "of-root").chmod(0o600)
        volume = tmp_path / "volume"
        volume.mkdir()
        pod = cri.pod(linux=_users(**modes))
        mapped = {"host_path": str(volume), "container_path": "/volume", "uidMappings": [IDS], "gidMappings": [IDS]}
        plain = {"host_path": str(tmp_path), "container_path": "/plain"}
        box = pod.running(linux=_users(**modes), mounts=[mapped, plain])
        assert _init(clean, box)["Uid"].split() == ["200000"] * 4
        assert pod.says(box, "id", "-u") == "0\n"
        assert pod.says(box, "cat", "/proc/self/uid_map").split() == ["0", "200000", "65536"]
        assert _namespace(pod, box, "user") != _of_host("user")
        pod.says(box, "sh", "-c", "echo x >/volume/made; touch /in-the-image; chown 12:34 /volume/made")
        made = (volume / "made").stat()
        assert (made.st_uid, made.st_gid) == (12, 34)  # through the mapped mount: as the container sees it
        assert pod.says(box, "stat", "-c", "%u:%g", "/bin", "/in-the-image").split() == ["0:0"] * 2
        assert "Permission denied" in _fails(pod, box, "cat /plain/of-root")
        assert pod.says(box, "stat", "-c", "%u", "/plain/of-root") == "65534\n"

    def test_who_may_mount_inside_mounts_and_uncovers_nothing(self, cri: Cri) -> None:
        pod = cri.pod(linux=_users())
        linux = _users()
        linux["security_context"] |= {
            "capabilities": {"add_capabilities": ["SYS_ADMIN"]},
            "masked_paths": ["/sys/firmware"],
            "readonly_paths": ["/proc/sys"],
        }
        box = pod.running("sh", "-c", "mkdir /x; mount -t tmpfs mine /x && echo mounted; sleep 1000", linux=linux)
        until(lambda: cri.node.log_lines(box) == ["mounted"], 10, "its first process mounts")
        pod.says(box, "sh", "-c", "mkdir -p /x/y && mount -t tmpfs mine /x/y && umount /x/y")
        for covered in ("/sys/firmware", "/proc/sys"):
            _fails(pod, box, f"umount {covered}")
        _fails(pod, box, "mount -o remount,rw /proc/sys && echo 1 >/proc/sys/kernel/domainname")
        plain = pod.running(linux=_users())
        _fails(pod, plain, "mkdir /x; mount -t tmpfs mine /x")

    def test_two_pods_with_other_ids_see_the_same_image(self, cri: Cri) -> None:
        for first in (300_000, 400_000):
            ids = [{"host_id": first, "container_id": 0, "length": 1000}]
            options = {"userns_options": {"mode": "POD", "uids": ids, "gids": ids}}
            linux = {"security_context": {"namespace_options": options}}
            pod = cri.pod(linux=linux)
            box = pod.running(linux=linux)
            assert pod.says(box, "stat", "-c", "%u", "/bin/busybox") == "0\n"


def test_shared_memory_is_the_pods_and_of_the_right_size(cri: Cri) -> None:
    pod = cri.pod()
    one, two = pod.running(), pod.running()
    pod.says(one, "sh", "-c", "echo hello >/dev/shm/x")
    assert pod.says(two, "cat", "/dev/shm/x") == "hello\n"
    size = pod.says(one, "sh", "-c", "df -k /dev/shm | tail -1").split()[1]
    assert size == str(64 << 10)


def test_stop_signals(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    obey = "trap 'exit 33' USR1; echo ready; while :; do sleep 1000 & wait; done"
    box = pod.running("sh", "-c", obey, stop_signal="SIGNAL_SIGUSR1")
    until(lambda: clean.log_lines(box) == ["ready"], 10, "it listens")
    cri.call("StopContainer", container_id=box, timeout=10)
    status = cri.call("ContainerStatus", container_id=box).status
    assert (status.exit_code, status.stop_signal) == (33, pb.SIGNAL_SIGUSR1)


def test_oom_score_and_hugepages(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running(linux={"resources": {"oom_score_adj": 321}})
    assert pod.says(box, "cat", "/proc/self/oom_score_adj") == "321\n"
    assert pod.refused(linux={"resources": {"oom_score_adj": 2000}})[0] == "INVALID_ARGUMENT"
    limits = {"hugepage_limits": [{"page_size": "2MB", "limit": 4 << 20}]}
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return  # tests/unit/cgroups has what v2 writes
    if not Path("/sys/fs/cgroup/hugetlb").is_dir():
        assert pod.refused(linux={"resources": limits})[0] == "FAILED_PRECONDITION"
        pod.created(linux={"resources": {"hugepage_limits": [{"page_size": "2MB", "limit": 0}]}})  # as kubelets ask
    else:
        huge = pod.running(linux={"resources": limits})
        where = Path(f"/sys/fs/cgroup/hugetlb/{clean.tag}/{pod.id}/{huge}/hugetlb.2MB.limit_in_bytes")
        assert where.read_text().strip() == str(4 << 20)


def test_the_address_of_a_stream_is_good_for_a_minute(cri: Cri, early: tuple[str, float]) -> None:
    url, at = early
    box = cri.pod().running()
    until(lambda: time.monotonic() - at > 61, 61, "a minute is over")  # it is, after all the others
    fresh = cri.call("Exec", container_id=box, cmd=["true"], stdout=True).url
    assert (stream_status(url), stream_status(fresh)) == ("404", "101")
