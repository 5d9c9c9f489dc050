"""Cases for the executor about binds and the working directory; run by executor_driver.py."""

# files of its own tmpfs may be read from a coroutine
# ruff: noqa: ASYNC230, ASYNC240, SIM115

import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any

from tests.node.executor_world import HANDLER, World

Make = Callable[..., contextlib.AbstractAsyncContextManager[World]]


def _bound(w: World, id: str, mounts: list[tuple[str, str, list[str]]], *args: str) -> dict[str, Any]:
    """With (destination, source below the test's folder, options)."""
    made = w.spec(id, *args)
    for destination, source, options in mounts:
        made["mounts"].append(
            {"destination": destination, "type": "bind", "source": f"{w.base}/host/{source}", "options": options}
        )
    return made


def _filled(w: World) -> None:
    os.makedirs(f"{w.base}/host/sub")
    with open(f"{w.base}/host/file", "w") as file:
        file.write("content")


async def binds(world: Make) -> None:
    async with world() as w:
        _filled(w)
        mounts = [
            ("/a/b", ".", ["rbind", "ro"]),
            ("/w", "sub", ["rbind", "rslave"]),
            ("/etc/passwd", "file", ["bind", "ro"]),
            ("/fresh", "made", ["rbind", "rprivate"]),
        ]
        script = "cat /a/b/file /etc/passwd; touch /a/b/x; touch /w/x; ls /fresh"
        out, err, code = await w.run(lambda id: _bound(w, id, mounts, "sh", "-c", script))
        assert out == "contentcontent", (out, err)
        assert "Read-only" in err
        assert (code, os.path.exists(f"{w.base}/host/sub/x"), os.path.isdir(f"{w.base}/host/made")) == (0, True, True)
        assert HANDLER or not any("rootfs" in line for line in open("/proc/self/mountinfo") if w.base in line)


async def read_only_with_all_below(world: Make) -> None:
    async with world() as w:
        _filled(w)
        mounts = [("/all", ".", ["rbind", "rro"]), ("/etc/passwd", "file", ["bind", "rro"])]
        out, err, _ = await w.run(lambda id: _bound(w, id, mounts, "sh", "-c", "touch /all/sub/x; cat /etc/passwd"))
        assert (out, "Read-only" in err) == ("content", True), (out, err)


async def a_bind_onto_a_link_that_leads_nowhere(world: Make) -> None:
    async with world() as w:
        _filled(w)
        mounts = [("/etc/resolv.conf", "file", ["bind", "ro"])]
        out, err, _ = await w.run(lambda id: _bound(w, id, mounts, "cat", "/etc/resolv.conf"))
        assert out == "content", err


async def a_shared_bind(world: Make) -> None:
    async with world() as w:
        _filled(w)

        def spec(id: str) -> dict[str, Any]:
            made = _bound(
                w, id, [("/sh", ".", ["rbind", "rshared"])], "grep", "-c", " /sh .*shared:", "/proc/self/mountinfo"
            )
            made["linux"]["rootfsPropagation"] = "rshared"
            return made

        out, err, _ = await w.run(spec)
        assert out == "1\n", (out, err)


async def a_working_directory_that_is_not_there(world: Make) -> None:
    """It is made, and belongs to who works there."""
    async with world() as w:
        user = {"uid": 1000, "gid": 1000}
        out, err, _ = await w.run(lambda id: w.spec(id, "stat", "-c", "%n %u", ".", user=user, cwd="/made/here"))
        assert out == ". 0\n", (out, err)


CASES: dict[str, Callable[[Make], Coroutine[Any, Any, None]]] = {
    one.__name__: one
    for one in (
        binds,
        read_only_with_all_below,
        a_bind_onto_a_link_that_leads_nowhere,
        a_shared_bind,
        a_working_directory_that_is_not_there,
    )
}
