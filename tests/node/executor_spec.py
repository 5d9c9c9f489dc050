"""Cases for the executor about what a runtime-spec asks for beyond the usual; run by executor_driver.py."""

# files of its own tmpfs may be read from a coroutine
# ruff: noqa: ASYNC230, ASYNC240, SIM115, PT017

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Coroutine
from typing import Any

from cribus import errors
from cribus.api.executor import Kill, Named
from cribus.executor import containers
from cribus.linux import mount

from tests.node.executor_world import HANDLER, World

Make = Callable[..., contextlib.AbstractAsyncContextManager[World]]


async def personality(world: Make) -> None:
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "uname", "-m")
            made["linux"]["personality"] = {"domain": "LINUX32"}
            return made

        out, err, code = await w.run(spec)
        assert (out.strip() in ("i686", "armv8l"), code) == (True, 0), (out, err)


async def scheduling(world: Make) -> None:
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            script = "cut -d' ' -f19,41 /proc/self/stat; ionice; grep -q bind:0 /proc/self/numa_maps && echo bound"
            made = w.spec(id, "sh", "-c", script)
            made["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 6}
            made["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
            made["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": []}
            return made

        out, err, code = await w.run(spec)
        found = [word.rstrip(":") for word in out.split()]
        assert (found[:3], found[-1], code) == (["6", "3", "idle"], "bound", 0), (out, err)


async def network_devices(world: Make) -> None:
    async with world() as w:
        name = f"crbd{os.getpid() % 10**9}"

        def spec(id: str, *devices: str) -> dict[str, Any]:
            made = w.spec(id, "sh", "-c", "ip -o addr show vendor0; ip -o link show vendor0")
            made["linux"]["netDevices"] = {one: {"name": "vendor0"} for one in devices}
            return made

        try:
            await w.create(lambda id: spec(id, "crbnone"))
        except errors.CribusError as error:
            assert HANDLER or error.message == "linux.netDevices: the host has no network device crbnone"
        else:
            raise AssertionError("a device that is not there")
        await _ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        try:
            for address in ("192.0.2.7/28", "2001:db8::7/64"):
                await _ip("addr", "add", address, "dev", name)
            if not HANDLER:  # runc would lose what IPv6 has: it looks when the device is down
                await _ip("link", "set", name, "up")
            out, err, code = await w.run(lambda id: spec(id, name))
            assert {"192.0.2.7/28", "2001:db8::7/64"} <= set(out.split()), (out, err)
            assert "UP" in out.rpartition("<")[2].partition(">")[0].split(",")
            assert (code, os.path.exists(f"/sys/class/net/{name}")) == (0, False)
            if not HANDLER:  # a container that is started again in its pod finds it where it is; runc fails
                again, _, _ = await w.run(lambda id: spec(id, name))
                assert "192.0.2.7/28" in again.split()
        finally:
            await _ip("link", "del", f"{name}p")


async def _ip(*words: str) -> None:
    going = await asyncio.create_subprocess_exec("ip", *words)
    assert await going.wait() == 0, words


async def clocks_of_its_own(world: Make) -> None:
    async with world() as w:

        def spec(id: str, *args: str) -> dict[str, Any]:
            made = w.spec(id, *(args or ("cat", "/proc/uptime", "/proc/self/timens_offsets")))
            made["linux"]["namespaces"].append({"type": "time"})
            made["linux"]["timeOffsets"] = {"monotonic": {"secs": 5}, "boottime": {"secs": 7654321, "nanosecs": 12}}
            return made

        id = await w.create(lambda id: spec(id, "sleep", "100"))
        await containers.start(w.node, Named(container=id))
        text, code = await w.exec(id, "cat", "/proc/uptime")
        assert (float(text.split()[0]) > 7654321, code) == (True, 0), f"up for {text}"
        words = (await w.run(spec))[0].split()
        assert float(words[0]) > 7654321
        assert (words[2:5], words[5:]) == (["monotonic", "5", "0"], ["boottime", "7654321", "12"]), words


async def cpus_of_an_exec(world: Make) -> None:
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            return w.spec(id, "sleep", "100", execCPUAffinity={"initial": "1", "final": "0"})

        for given, on in ((spec, "0"), (lambda id: w.spec(id, "sleep", "100"), _mine())):
            id = await w.create(given)
            await containers.start(w.node, Named(container=id))
            text, _ = await w.exec(id, "grep", "Cpus_allowed_list", "/proc/self/status")
            assert text.split()[1:] == [on], f"may run on {text!r}"
            text, _ = await w.exec(id, "grep", "Cpus_allowed_list", "/proc/1/status")
            assert text.split()[1] == _mine()
            await containers.kill(w.node, Kill(container=id, signal=9))


def _mine() -> str:
    (line,) = (line for line in open("/proc/self/status") if line.startswith("Cpus_allowed_list"))
    return line.split()[1]


async def options_of_mounts(world: Make) -> None:
    """Words that are no file system's, on binds and on others."""
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "sh", "-c", "cat /proc/self/mountinfo; touch /sealed/in/x; touch /sealed/y; ls -a /dev")
            source = f"{w.base}/source"
            os.makedirs(source, exist_ok=True)
            nodes = next(one for one in made["mounts"] if one["destination"] == "/dev")
            made["mounts"][made["mounts"].index(nodes)] = {**nodes, "options": [*nodes["options"], "ro"]}
            made["mounts"] += [
                {"destination": "/times", "source": source, "options": ["bind", "noatime", "nodev"]},
                {"destination": "/deep", "source": source, "options": ["rbind", "rnosuid", "rnoexec", "rexec"]},
                {"destination": "/both", "source": source, "options": ["rbind", "private", "rshared"]},
                {"destination": "/new", "type": "tmpfs", "source": "t", "options": ["rshared", "noexec", "size=4k"]},
                {"destination": "/sealed", "type": "tmpfs", "source": "t", "options": ["ro", "size=64k"]},
                {"destination": "/sealed/in", "type": "tmpfs", "source": "t", "options": ["silent", "size=4k"]},
            ]
            return made

        out, err, _ = await w.run(spec)
        seen = {line.split()[4]: line.split() for line in out.splitlines() if line.count(" ") > 8}
        flags = {place: set(words[5].split(",")) for place, words in seen.items()}
        assert {"nodev", "noatime"} <= flags["/times"], (out, err)
        assert ("nosuid" in flags["/deep"], "noexec" in flags["/deep"]) == (True, False), out
        assert seen["/both"][6].startswith("shared:"), out
        assert seen["/new"][6].startswith("shared:"), out
        assert "noexec" in flags["/new"]
        assert [place for place in ("/sealed", "/sealed/in", "/dev", "/dev/pts") if "ro" in flags[place]] == [
            "/sealed", "/dev",
        ]  # fmt: skip
        assert err.strip() == "touch: /sealed/y: Read-only file system", err
        assert {"null", "fd", "ptmx"} <= set(out.split())


async def shared_with_the_host(world: Make) -> None:
    """Of binds of one source those that are told to, whatever their order."""
    async with world() as w:
        source = f"{w.base}/source"
        os.makedirs(source)
        mount.mount("crbtest", source, "tmpfs", (0, "size=4k"))
        mount.change(source, mount.MS_SHARED)
        try:
            (line,) = (one for one in open("/proc/self/mountinfo") if one.split()[4] == source)
            (peers,) = (word for word in line.split() if word.startswith("shared:"))

            def spec(id: str) -> dict[str, Any]:
                made = w.spec(id, "cat", "/proc/self/mountinfo")
                made["linux"]["rootfsPropagation"] = "rshared"
                for place, word in (("/a", "rprivate"), ("/b", "rshared"), ("/c", "rslave"), ("/d", "shared")):
                    made["mounts"].append({"destination": place, "source": source, "options": ["rbind", word]})
                return made

            out, err, _ = await w.run(spec)
            seen = {one.split()[4]: one.partition(" - ")[0].split()[6:] for one in out.splitlines()}
            assert [place for place in ["/a", "/b", "/c", "/d"] if peers in seen[place]] == ["/b", "/d"], (seen, err)
            assert peers.replace("shared", "master") in seen["/c"], (seen, err)
        finally:
            mount.umount(source)


async def binds_clear_what_they_are_told_to(world: Make) -> None:
    async with world() as w:
        source = f"{w.base}/source"
        os.makedirs(source)
        mount.mount("crbtest", source, "tmpfs", (mount.MS_NOSUID | mount.MS_NODEV, "size=4k"))
        try:

            def spec(id: str, *options: str) -> dict[str, Any]:
                made = w.spec(id, "grep", " /in ", "/proc/self/mountinfo")
                made["mounts"].append({"destination": "/in", "source": source, "options": ["bind", *options]})
                return made

            plain, _, _ = await w.run(spec)
            assert {"nosuid", "nodev"} <= set(plain.split()[5].split(","))
            out, err, _ = await w.run(lambda id: spec(id, "suid", "dev"))
            assert not {"nosuid", "nodev"} & set(out.split()[5].split(",")), (out, err)
        finally:
            mount.umount(source)


async def refused_options(world: Make) -> None:
    async with world() as w:
        for options in (["bind", "size=4k"], ["bind", "idmap"]):

            def spec(id: str, options: list[str] = options) -> dict[str, Any]:
                made = w.spec(id, "true")
                made["mounts"].append({"destination": "/in", "source": w.base, "options": options})
                return made

            try:
                await w.create(spec)
            except errors.CribusError as error:
                assert HANDLER or error.message.startswith("mount /in: "), error.message
            else:
                raise AssertionError(options)


async def owners_of_mounts(world: Make) -> None:
    """A mapping of a mount's own, without a user namespace; with all below it or without."""
    async with world() as w:
        source, inner = f"{w.base}/source", f"{w.base}/source/inner"
        os.makedirs(inner)
        mount.mount("crbtest", inner, "tmpfs", (0, "size=4k,uid=1000,gid=1000"))
        os.chown(source, 1000, 1000)
        ids = [{"containerID": 1000, "hostID": 3000, "size": 10}]
        try:

            def spec(id: str, word: str) -> dict[str, Any]:
                made = w.spec(id, "stat", "-c", "%u:%g", "/in", "/in/inner")
                entry = {"destination": "/in", "source": source, "options": ["rbind", word]}
                made["mounts"].append({**entry, "uidMappings": ids, "gidMappings": ids})
                return made

            for word, below in (("idmap", "1000:1000"), ("ridmap", "3000:3000")):
                out, err, code = await w.run(functools.partial(spec, word=word))
                assert (out.split(), code) == (["3000:3000", below], 0), (out, err)
        finally:
            mount.umount(inner)


async def a_tmpfs_that_begins_with_what_it_covers(world: Make) -> None:
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "sh", "-c", "cd /etc; stat -c '%n %a %F' . passwd resolv.conf; cat passwd; echo >new; ls")
            options = ["tmpcopyup", "nosuid", "size=1m"]
            made["mounts"].append({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": options})
            return made

        out, err, code = await w.run(spec)
        text = open(f"{w.layer}/etc/passwd").read()
        mode = oct(os.stat(f"{w.layer}/etc/passwd").st_mode & 0o7777)[2:]
        lines = [". 755 directory", f"passwd {mode} regular file", "resolv.conf 777 symbolic link", *text.splitlines()]
        assert (out.splitlines(), code) == ([*lines, "new", "passwd", "resolv.conf"], 0), (out, err)
        assert not os.path.exists(f"{w.layer}/etc/new")


async def modes_of_a_tmpfs(world: Make) -> None:
    """That of what it covers, unless it is told another."""
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "stat", "-c", "%a", "/root", "/tmp", "/fresh")
            os.makedirs(f"{w.base}/disk/{id}/upper/root", mode=0o750)
            for place, words in (("/root", []), ("/tmp", ["mode=700"]), ("/fresh", [])):
                made["mounts"].append({"destination": place, "type": "tmpfs", "source": "t", "options": words})
            return made

        out, err, code = await w.run(spec)
        assert (out.split(), code) == (["750", "700", "1777"], 0), (out, err)


async def sysctls_of_the_host(world: Make) -> None:
    async with world() as w:
        for name in ("vm.swappiness", "kernel.panic", "kernel.hostname"):

            def spec(id: str, name: str = name) -> dict[str, Any]:
                made = w.spec(id, "true")
                made["linux"]["sysctl"] = {name: "1"}
                return made

            try:
                await w.create(spec)
            except errors.CribusError as error:
                assert HANDLER or error.message.startswith(f"linux.sysctl {name}"), error.message
            else:
                raise AssertionError(name)

        def good(id: str) -> dict[str, Any]:
            made = w.spec(id, "cat", "/proc/sys/net/ipv4/conf/lo/rp_filter", "/proc/sys/kernel/msgmax")
            made["linux"]["sysctl"] = {"net/ipv4/conf/lo/rp_filter": "2", "kernel.msgmax": "7777"}
            return made

        assert await w.run(good) == ("2\n7777\n", "", 0)


async def limits_that_are_not_the_kernels(world: Make) -> None:
    """Words of a resources object that runc ignores, and what callers write by default, do not stop a container."""
    async with world() as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "echo", "runs")
            made["linux"]["resources"] |= {
                "memory": {"limit": 1 << 26, "kernel": 1 << 26, "useHierarchy": False, "disableOOMKiller": False},
                "cpu": {"shares": 2, "idle": 0, "realtimeRuntime": 0},
                "pids": {"limit": -1},
                "blockIO": {"weightDevice": None},
                "network": {"classID": 0},
                "unified": {},
            }
            made["process"]["capabilities"] = {"bounding": ["CAP_KILL", "CAP_FROM_THE_FUTURE"]}
            made["windows"] = {"layerFolders": ["none"]}
            return made

        assert await w.run(spec) == ("runs\n", "", 0)


CASES: dict[str, Callable[[Make], Coroutine[Any, Any, None]]] = {
    one.__name__: one
    for one in (
        personality, scheduling, network_devices, clocks_of_its_own, cpus_of_an_exec, options_of_mounts,
        modes_of_a_tmpfs, shared_with_the_host, refused_options, binds_clear_what_they_are_told_to, owners_of_mounts,
        a_tmpfs_that_begins_with_what_it_covers,
        sysctls_of_the_host, limits_that_are_not_the_kernels,
    )
}  # fmt: skip
