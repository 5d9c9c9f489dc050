"""The fork server, driven as a service drives it: in a process of its own that starts it first."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_HEAD = """
import sys
sys.path[:0] = [{here!r}]
from cribus import forkserver
server = forkserver.start(preload=["forkserver_children"])
import asyncio, os, select, signal

async def status(read):
    loop = asyncio.get_running_loop()
    return int.from_bytes(await loop.run_in_executor(None, os.read, read, 4), "little")

async def run(function, request, fds=()):
    read, write = os.pipe()
    child = await server.run("forkserver_children:" + function, dict(request, _exit_fd=len(fds)), [*fds, write])
    os.close(write)
    return child, await status(read)
"""
_CHILDREN = """
import os, sys

def answer(request, fds):
    os.write(fds[0], repr((request["word"], sorted(os.listdir("/proc/self/fd"), key=int))).encode())
    return 7

def heavy(request, fds):
    bad = [m for m in ("asyncio", "logging", "typing", "re", "json", "dataclasses", "msgspec") if m in sys.modules]
    os.write(fds[0], repr(bad).encode())

def fails(request, fds):
    raise ValueError("told so")

def length(request, fds):
    os.write(fds[0], str(len(request["big"])).encode())

def leaves_one(request, fds):
    from cribus.linux import process
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)  # its parent has ended
        os._exit(6)
    os.write(fds[0], repr((pid, process.start_time(pid))).encode())

def wait(request, fds):
    import select
    if request.get("group"):
        os.setsid()
        os.fork() or select.select([], [], [], 30)
    os.write(fds[0], b"up")
    select.select([], [], [], 30)
"""


@pytest.fixture
def drive(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "forkserver_children.py").write_text(_CHILDREN)

    def script(body: str) -> subprocess.CompletedProcess[str]:
        code = _HEAD.format(here=str(tmp_path)) + "async def main():\n" + textwrap.indent(body, "    ")
        code += "\nasyncio.run(main())\n"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)

    return script


def test_child_gets_request_and_descriptors_and_its_status_is_told(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "r, w = os.pipe()\n"
        "child, code = await run('answer', {'word': 'hello'}, [w])\n"
        "print(os.read(r, 999).decode(), os.waitstatus_to_exitcode(code), child.pid > 1, child.pidfd > 2)"
    )
    # 0 to 2, the two passed ones, and the directory that is being read
    assert "('hello', ['0', '1', '2'" in done.stdout
    assert done.stdout.strip().endswith("7 True True"), done.stderr
    assert done.stdout.count("'") == 2 + 2 * 6


def test_child_loads_nothing_heavy(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive("r, w = os.pipe()\nawait run('heavy', {}, [w])\nprint(os.read(r, 999).decode())")
    assert done.stdout == "[]\n", done.stderr


def test_failure_is_logged_and_large_requests_arrive(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "r, w = os.pipe()\n"
        "child, code = await run('fails', {})\nprint(os.waitstatus_to_exitcode(code))\n"
        "await run('length', {'big': 'x' * 1000000}, [w])\nprint(os.read(r, 99).decode())"
    )
    assert done.stdout.split() == ["70", "1000000"]
    assert "told so" in done.stderr


def test_both_halves_learn_of_the_others_death(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "r, w = os.pipe()\n"
        "child = await server.run('forkserver_children:wait', {}, [w])\n"
        "await asyncio.get_running_loop().run_in_executor(None, os.read, r, 2)\n"
        "os.kill(server.pid, signal.SIGKILL)\n"
        "await asyncio.wait_for(server.closed, 5)\n"
        "print('closed', os.path.exists(f'/proc/{child.pid}'))\n"
        "signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)\n"
        "try:\n    await server.run('forkserver_children:wait', {})\n"
        "except ConnectionError as error: print(error)"
    )
    assert done.stdout.startswith("closed True\nthe fork server has gone"), done.stderr


def test_server_ends_with_its_client(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "pidfd = os.pidfd_open(server.pid)\n"
        "server.close()\n"
        "poll = select.poll(); poll.register(pidfd, select.POLLIN)\nprint(len(poll.poll(5000)))"
    )
    assert done.stdout == "1\n", done.stderr


def test_a_client_that_ends_with_an_unread_answer_is_no_failure(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "pidfd = os.pidfd_open(server.pid)\n"
        "r, w = os.pipe()\n"
        "asking = asyncio.ensure_future(server.run('forkserver_children:length', {'big': ''}, [w]))\n"
        "await asyncio.sleep(0)\n"
        "os.read(r, 1)\n"  # it runs, so its answer is here or on its way
        "poll = select.poll(); poll.register(server._sock, select.POLLIN); poll.poll(5000)\n"
        "server.close()\n"
        "poll = select.poll(); poll.register(pidfd, select.POLLIN)\nprint(len(poll.poll(5000)))\n"
        "await asyncio.gather(asking, return_exceptions=True)"
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_pid_namespace_of_birth(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "p = os.posix_spawnp('unshare', ['unshare', '-fp', 'sleep', '30'], os.environ)\n"
        "sleep = ''\n"
        "while not sleep: sleep = open(f'/proc/{p}/task/{p}/children').read().split()[:1]\n"
        "pidfd = os.pidfd_open(int(sleep[0]))\n"
        "r, w = os.pipe()\n"
        "child = await server.run('forkserver_children:wait', {'_pidns': 1}, [w, pidfd])\n"
        "os.read(r, 2)\n"
        "print(os.stat(f'/proc/{child.pid}/ns/pid').st_ino == os.stat(f'/proc/{sleep[0]}/ns/pid').st_ino)\n"
        "print(os.stat(f'/proc/{server.pid}/ns/pid_for_children').st_ino == os.stat('/proc/self/ns/pid').st_ino)\n"
        "os.kill(int(sleep[0]), signal.SIGKILL); os.waitpid(p, 0)"
    )
    assert done.stdout == "True\nTrue\n", done.stderr


@pytest.mark.parametrize("group", [False, True])
def test_a_child_whose_end_nobody_can_hear_is_ended(drive, group: bool) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "r, w = os.pipe()\n"
        "exit_read, exit_write = os.pipe()\n"
        f"request = {{'_exit_fd': 1, 'group': {group}}}\n"
        "child = await server.run('forkserver_children:wait', request, [w, exit_write])\n"
        "os.close(w); os.close(exit_write)\n"
        "os.read(r, 2)\n"
        "os.close(exit_read)\n"
        "poll = select.poll(); poll.register(child.pidfd, select.POLLIN)\n"
        "print(len(poll.poll(5000)), os.read(r, 1))\n"  # the end: what it forked has gone too
        "print(os.waitstatus_to_exitcode((await run('fails', {}))[1]))"
    )
    assert done.stdout == "1 b''\n70\n", done.stderr


def test_where_the_kernel_forgets_ends_those_of_orphans_are_told(drive, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("CRIBUS_NO_EXIT_INFO", "1")
    done = drive(
        "told = asyncio.get_running_loop().create_future()\n"
        "server.on_orphan = lambda *what: told.set_result(what)\n"
        "read, write = os.pipe()\n"
        "await server.run('forkserver_children:leaves_one', {}, [write])\n"
        "left = eval(os.read(read, 100))\n"
        "print(await asyncio.wait_for(told, 10) == (*left, 6 << 8))"
    )
    assert done.stdout == "True\n", done.stderr


def test_a_stopped_server_is_killed_by_its_client(drive) -> None:  # type: ignore[no-untyped-def]
    done = drive(
        "loop = asyncio.get_running_loop()\n"
        "gone = server.closed\n"
        "await run('answer', {'word': 'x'}, [os.pipe()[1]])\n"
        "for _ in range(5):\n    server.look()\n    await asyncio.wait({gone}, timeout=0.2)\n"
        "print(gone.done())\n"
        "os.kill(server.pid, signal.SIGSTOP)\n"
        "began = loop.time()\n"
        "while not gone.done():\n    server.look()\n    await asyncio.wait({gone}, timeout=0.2)\n"
        "print(loop.time() - began > 2)"
    )
    assert done.stdout.split() == ["False", "True"], done.stderr
