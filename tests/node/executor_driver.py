"""Cases for the executor with real containers; `test_executor.py` runs each in a process of its own, with
the built-in runtime and with outside ones."""

# files of its own tmpfs may be read from a coroutine
# ruff: noqa: ASYNC230, ASYNC240, SIM115, PT017

import sys

from cribus import forkserver
from cribus.executor.__main__ import PRELOAD

if __name__ == "__main__" and not sys.argv[1].startswith("-"):
    SERVER = forkserver.start(PRELOAD)

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
from cribus import errors
from cribus.api.executor import Create, CreatePod, IdMap, Kill, Named, Resources
from cribus.executor import containers, ending, pods, state, waiting
from cribus.linux import process

from tests.node import executor_binds, executor_spec
from tests.node.executor_world import HANDLER, POD, World, reaped
from tests.node.executor_world import world as any_world


def world(**more: Any) -> contextlib.AbstractAsyncContextManager[World]:
    return any_world(SERVER, sys.argv[2], **more)


CASES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}


OURS = (
    "a_hung_keeper",  # the same code whatever the runtime
    "hooks_in_their_order",  # runc runs poststart hooks in its create, and does not wait for startContainer ones:
    "hooks_that_fail",  # the runtime-spec wants otherwise
)


def case(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    CASES[function.__name__] = function
    return function


@case
async def output_and_exit_code() -> None:
    async with world() as w:
        assert await w.run(None, "sh", "-c", "echo out; echo err >&2; exit 42") == ("out\n", "err\n", 42)


@case
async def what_the_container_sees() -> None:
    script = """hostname; echo $$; cat /proc/self/status | grep -i capeff; ls /dev | tr '\\n' ' '; echo
        touch /new && echo wrote; touch /proc/sys/x 2>/dev/null || echo ro
        mount | grep -c ' / '; ls -l /proc/self/fd/ | wc -l; umask"""
    async with world(sysctls={"net.ipv4.ip_unprivileged_port_start": "0"}) as w:
        out, err, code = await w.run(None, "sh", "-c", script)
        assert code == 0, err
        lines = out.splitlines()
        assert lines[0] == "harbour"
        assert lines[1] == "1"
        wanted = sum(1 << bit for bit in (0, 5, 10, 7, 6, 8))
        assert int(lines[2].split()[1], 16) == wanted
        for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "fd", "stdin"):
            assert name in lines[3].split()
        assert lines[4:] == ["wrote", "ro", "1", "5", "0022"], lines
        assert os.path.exists(f"{w.base}/disk/{1:064x}/upper/new")


@case
async def cgroups_and_queues_in_it() -> None:
    async with world() as w:
        script = "ls -d /dev/mqueue; ls /sys/fs/cgroup | tr '\\n' ' '; cat /sys/fs/cgroup/memory/tasks | head -1"
        out, err, _ = await w.run(None, "sh", "-c", script)
        lines = out.splitlines()
        assert lines[:1] == ["/dev/mqueue"], err
        assert {"memory", "cpu", "pids"} <= set(lines[1].split()) or "cgroup.procs" in lines[1], err


@case
async def exec_in_it() -> None:
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        text, code = await w.exec(id, "sh", "-c", "hostname; echo $FOO; cat /proc/1/cmdline; exit 3", env=["FOO=bar"])
        assert (text, code) == ("harbour\nbar\nsleep\x00100\x00", 3), (text, code)
        try:
            await w.exec(id, "nope")
        except errors.NotFound as error:
            assert HANDLER or error.message == 'exec "nope": executable file not found in $PATH of the container'
        else:
            raise AssertionError("exec of what is not there")
        await containers.kill(w.node, Kill(container=id, signal=9))
        assert (await w.end(id))[2] == 137


@case
async def an_exec_counts_for_the_container() -> None:
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        text, _ = await w.exec(id, "cat", "/proc/self/cgroup")
        counted = [line.split(":")[2] for line in text.splitlines() if ":memory:" in line or ":pids:" in line]
        assert counted, f"counted nowhere: {text!r}"
        assert all(path.endswith(id) for path in counted), f"counted in {counted}"


@case
async def exec_with_a_terminal() -> None:
    """It is one of the container's own: it has a name there, and its user can be its leader."""
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        text, code = await w.exec_terminal(id, "sh", "-c", "tty; echo x > /dev/tty; exit 4")
        assert (text.replace("\r", ""), code) == ("/dev/pts/0\nx\n", 4), (text, code)


@case
async def an_exec_that_nobody_waits_for() -> None:
    """It ends, and what it started with it."""
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        before = set(w.node.tree.pids(w.container_cgroup(id)))
        await w.abandon(id, "sh", "-c", "sleep 77 & sleep 77")
        while further := set(w.node.tree.pids(w.container_cgroup(id))) - before:  # it may have been forking
            for pid in further:
                assert await ending.died(pid, 5), "it goes on"


@case
async def programs_that_cannot_run() -> None:
    async with world() as w:
        for args, kind, text in (
            (("/nope",), errors.NotFound, 'exec "/nope": no such file or directory in the container'),
            (("/etc/passwd",), errors.InvalidArgument, 'exec "/etc/passwd": permission denied'),
        ):
            try:
                id = await w.create(None, *args)
                await containers.start(w.node, Named(container=id))
            except kind as error:
                assert HANDLER or error.message == text, error.message
            else:
                raise AssertionError(args)
            if HANDLER:  # one with a kernel of its own has begun that; whoever asked for the start takes it down
                await containers.delete(w.node, Named(container=f"{w.count:064x}"))
        assert [one.status for one in state.every(w.node).containers if one.pid and one.status != "stopped"] == []


@case
async def signals_and_states() -> None:
    async with world() as w:
        id = await w.create(None, "sh", "-c", "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        again = await containers.create(w.node, Create(container=id, pod=POD, handler=HANDLER))
        init = state.read(w.node, id).pid
        assert again.pid == init
        assert state.read(w.node, id).status == "created"
        await containers.start(w.node, Named(container=id))
        await containers.start(w.node, Named(container=id))
        assert state.read(w.node, id).status == "running"
        await containers.pause(w.node, Named(container=id))
        await containers.resume(w.node, Named(container=id))
        assert await w.says(id, "ready\n")
        await containers.kill(w.node, Kill(container=id, signal=15))
        assert await w.end(id) == ("got\n", "", 5)
        await containers.kill(w.node, Kill(container=id, signal=15))
        found = state.read(w.node, id)
        assert (found.status, found.exit_known, found.pid) == ("stopped", True, init)
        await containers.delete(w.node, Named(container=id))
        await containers.delete(w.node, Named(container=id))
        assert state.every(w.node).containers == []


@case
async def seen_to_be_paused() -> None:
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        await containers.pause(w.node, Named(container=id))
        status = state.read(w.node, id).status
        assert status == "paused", f"paused, it is {status}"
        await containers.resume(w.node, Named(container=id))
        assert state.read(w.node, id).status == "running"


@case
async def other_limits() -> None:
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        await containers.update(w.node, Resources(container=id, resources={"pids": {"limit": 50}}))
        files = [f"{one}/pids.max" for one in w.node.tree.directories(w.container_cgroup(id))]
        assert [open(one).read() for one in files if os.path.exists(one)] == ["50\n"]


@case
async def a_killed_keeper() -> None:
    async with world() as w:
        id = await w.create(lambda id: w.spec(id, "sh", "-c", "read line; exit 9", stdin=True))
        record = state.load(w.node.bundle(id))
        assert record is not None
        fds = await w.streams(id)
        await containers.start(w.node, Named(container=id))
        os.kill(record.keeper, signal.SIGKILL)
        os.write(fds["stdin"], b"go on\n")
        await reaped(fds["pidfd"])
        found = state.read(w.node, id)
        assert (found.exit_known, found.exit_code) == (True, 9)
        for fd in fds.values():
            os.close(fd)


@case
async def another_executor() -> None:
    """All that the first one held is gone: a container at its barrier, one that runs, one that ends meanwhile."""
    async with world() as w:
        waits = await w.create(lambda id: w.spec(id, "sh", "-c", "read line; exit 7", stdin=True))
        runs = await w.create(lambda id: w.spec(id, "sh", "-c", "read line; exit 8", stdin=True))
        await containers.start(w.node, Named(container=runs))
        record = state.load(w.node.bundle(runs))
        assert record is not None
        state.save(w.node.bundle(runs), msgspec.structs.replace(record, started_at=0))  # its start was not noted
        for id in (waits, runs):
            w.node.let_go(id)
        await containers.adopt(w.node)
        assert [state.read(w.node, id).status for id in (waits, runs)] == ["created", "running"]
        for id, code in ((runs, 8), (waits, 7)):
            await containers.start(w.node, Named(container=id))
            fds = await w.streams(id)
            os.write(fds["stdin"], b"go on\n")
            for fd in fds.values():
                os.close(fd)
            assert (await w.end(id))[2] == code


@case
async def a_hung_keeper() -> None:
    """It is killed, and nothing waits for ever."""
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        record = state.load(w.node.bundle(id))
        assert record is not None
        os.kill(record.keeper, signal.SIGSTOP)
        await containers.delete(w.node, Named(container=id))
        assert not process.is_running(record.keeper, record.keeper_started)


@case
async def half_made() -> None:
    """A crash between intent and the end of creation: the next creation begins anew."""
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        bundle = w.node.bundle(id)
        record = state.load(bundle)
        assert record is not None
        state.save(bundle, state.Record(container=id, pod=POD, cgroup=record.cgroup, runtime=record.runtime))
        w.node.let_go(id)
        made = await containers.create(w.node, Create(container=id, pod=POD, handler=HANDLER))
        assert made.pid != record.pid
        assert not process.is_running(record.pid, record.started)
        assert not process.is_running(record.keeper, record.keeper_started)


@case
async def terminal() -> None:
    async with world() as w:
        id = await w.create(lambda id: w.spec(id, "sh", "-c", "tty; test -t 0 && echo yes; cat", terminal=True))
        await containers.start(w.node, Named(container=id))
        fds = await w.streams(id)
        console = fds["console"]
        said = await waiting.text(console, 5, b"yes\r\n")
        assert said == "/dev/pts/0\r\nyes\r\n", repr(said)
        os.write(console, b"echoed\n\x04")
        said = await waiting.text(console, 5, b"echoed\r\nechoed\r\n")
        assert "echoed" in said
        for fd in fds.values():
            os.close(fd)


@case
async def user_and_limits() -> None:
    async with world() as w:
        user = {"uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o077}

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(
                id, "sh", "-c", "id -u; id -g; id -G; umask; ulimit -n; "
                "grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; mkdir /tmp/x",
                user=user, noNewPrivileges=True,
                rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
            )  # fmt: skip
            made["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            }
            return made

        out, err, _ = await w.run(spec)
        lines = out.split("\n")
        assert lines[:5] == ["1000", "1000", "1000 7 8", "0077", "100"], out
        words = [line.split()[1] for line in lines[5:8]]
        assert words == ["0000000000000000", "1", "2"], lines
        assert "not supported" in err.lower(), err


@case
async def the_score_for_the_oom_killer() -> None:
    async with world() as w:
        script = "read line; cat /proc/self/oom_score_adj"
        id = await w.create(lambda id: w.spec(id, "sh", "-c", script, stdin=True, oomScoreAdj=500))
        await containers.start(w.node, Named(container=id))
        with open(f"/proc/{state.read(w.node, id).pid}/oom_score_adj") as file:
            assert file.read() == "500\n", "of the process that the host's killer sees"
        fds = await w.streams(id)
        os.write(fds["stdin"], b"go on\n")
        for fd in fds.values():
            os.close(fd)
        seen, _, _ = await w.end(id)
        assert seen == "500\n", f"it sees {seen}"


KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hooked(w: World, scripts: dict[str, str], **more: Any) -> Callable[[str], dict[str, Any]]:
    """A container whose hooks leave the state that they read where the host sees it."""
    return lambda id: _hooked(w, id, scripts, more)


def _hooked(w: World, id: str, scripts: dict[str, str], more: dict[str, Any]) -> dict[str, Any]:
    made = w.spec(id, "sh", "-c", "cat /hook/startContainer; read line", stdin=True)
    os.makedirs(f"{w.base}/seen", exist_ok=True)
    made["mounts"].append({"destination": "/hook", "source": f"{w.base}/seen", "options": ["rbind"], "type": "bind"})
    made["hooks"] = {}
    for kind in KINDS:
        where = "/hook" if kind == "startContainer" else f"{w.base}/seen"
        script = f"cat > {where}/{kind}; echo $A >> {where}/order; {scripts.get(kind, 'exit 0')}"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"A={kind}", "PATH=/bin"], **more}
        made["hooks"][kind] = [hook]
    return made


@case
async def hooks_in_their_order() -> None:
    async with world() as w:
        id = await w.create(hooked(w, {}))
        assert open(f"{w.base}/seen/order").read().split() == list(KINDS[:3])
        await containers.start(w.node, Named(container=id))
        record = state.load(w.node.bundle(id))
        assert record is not None
        seen = {kind: json.load(open(f"{w.base}/seen/{kind}")) for kind in KINDS[:5]}
        assert {one["id"] for one in seen.values()} == {id}
        assert {one["pid"] for one in seen.values()} == {record.pid}
        statuses = [seen[kind]["status"] for kind in KINDS[:5]]
        assert statuses == ["creating", "creating", "creating", "created", "running"], statuses
        await containers.delete(w.node, Named(container=id))
        assert open(f"{w.base}/seen/order").read().split() == list(KINDS)
        assert json.load(open(f"{w.base}/seen/poststop"))["status"] == "stopped"


@case
async def hooks_that_fail() -> None:
    async with world() as w:
        for kind in KINDS[:5]:
            try:
                id = await w.create(hooked(w, {kind: "echo because >&2; exit 3"}))
                await containers.start(w.node, Named(container=id))
            except errors.CribusError as error:
                assert HANDLER or error.message == f"{kind} hook /bin/sh ended with 3: because", error.message
            else:
                raise AssertionError(kind)
            await containers.delete(w.node, Named(container=f"{w.count:064x}"))
            order = open(f"{w.base}/seen/order").read().split()
            assert order[:-1] == list(KINDS[: KINDS.index(kind) + 1]), (kind, order)
            assert order[-1] == "poststop"
            os.unlink(f"{w.base}/seen/order")


@case
async def a_hook_that_hangs() -> None:
    async with world() as w:
        for kind in ("createRuntime", "createContainer"):
            try:
                await w.create(hooked(w, {kind: "exec sleep 100"}, timeout=1))
            except errors.CribusError as error:
                assert HANDLER or error.message == f"{kind} hook /bin/sh was killed after its 1 s"
            else:
                raise AssertionError(kind)


@case
async def shared_pid_namespace() -> None:
    async with world(namespaces=["net", "ipc", "uts", "pid"]) as w:
        assert w.pod.pid > 0
        assert w.pod.pid in w.node.tree.pids(w.pod.cgroup)  # at once: a pod that is deleted now leaves nobody
        first = await w.create(None, "sleep", "77")
        await containers.start(w.node, Named(container=first))
        out, err, code = await w.run(
            None, "sh", "-c", "ps | grep -v grep | grep -c 'sleep 77'; test $$ != 1 && echo no"
        )
        assert (out, code) == ("1\nno\n", 0), (out, err)
        again = await pods.create(w.node, CreatePod(pod=POD, namespaces=["net", "ipc", "uts", "pid"], hostname="x"))
        assert again.pid == w.pod.pid


@case
async def a_pods_first_process_is_where_its_teardown_looks() -> None:
    """From the first moment: what is not in the cgroup when that is emptied is never killed."""
    for _ in range(5):
        async with world(namespaces=["net", "ipc", "uts", "pid"]) as w:
            assert w.pod.pid in w.node.tree.pids(w.pod.cgroup)


@case
async def user_namespace() -> None:
    maps = [IdMap(container=0, host=200000, size=65536)]
    async with world(namespaces=["net", "ipc", "uts", "user"], uids=maps, gids=maps) as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(
                id,
                "sh",
                "-c",
                "id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox /dev; touch /y; ls /dev/pts",
            )
            mapped = [{"containerID": 0, "hostID": 200000, "size": 65536}]
            made["linux"]["uidMappings"] = made["linux"]["gidMappings"] = mapped
            made["mounts"][0]["uidMappings"] = made["mounts"][0]["gidMappings"] = mapped
            return made

        out, err, code = await w.run(spec)
        lines = out.split("\n")
        assert lines[0] == "0", (out, err)
        assert lines[1].split() == ["0", "200000", "65536"]
        assert lines[2:4] == ["0", "0"], (out, err)
        assert (code, err) == (0, ""), (out, err)
        assert os.stat(f"{w.base}/disk/{1:064x}/upper/y").st_uid == 200000


CASES |= {name: partial(function, world) for name, function in (executor_binds.CASES | executor_spec.CASES).items()}

if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print(*(name for name in CASES if name not in OURS))
    elif sys.argv[1] == "--list-usual":
        print(*(name for name in CASES if name not in (*OURS, *executor_spec.CASES)))
    elif sys.argv[1] == "--list-native":
        print(*CASES)
    else:
        asyncio.run(CASES[sys.argv[1]]())
