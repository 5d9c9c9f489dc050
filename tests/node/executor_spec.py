"""Cases for the executor about what a runtime-spec asks for beyond the usual; run by executor_driver.py."""

# files of its own tmpfs may be read from a coroutine
# ruff: noqa: ASYNC240, SIM115, PT017

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any

from cribus import errors
from cribus.api.executor import Kill, Named
from cribus.executor import containers

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
        nice, policy, io, *rest = out.split()
        assert (nice, policy, io.rstrip(":"), rest[-1], code) == ("6", "3", "idle", "bound", 0), (out, err)


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
        assert (float(text.split()[0]) > 7654321, code) == (True, 0), text
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
            assert text.split()[1] == on
            text, _ = await w.exec(id, "grep", "Cpus_allowed_list", "/proc/1/status")
            assert text.split()[1] == _mine()
            await containers.kill(w.node, Kill(container=id, signal=9))


def _mine() -> str:
    (line,) = (line for line in open("/proc/self/status") if line.startswith("Cpus_allowed_list"))
    return line.split()[1]


CASES: dict[str, Callable[[Make], Coroutine[Any, Any, None]]] = {
    one.__name__: one for one in (personality, scheduling, network_devices, clocks_of_its_own, cpus_of_an_exec)
}
