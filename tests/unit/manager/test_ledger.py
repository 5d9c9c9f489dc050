"""Records as files, and the KV that follows."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import ResourceExhausted, Unavailable
from cribus.manager.ledger import Ledger


class Behind:
    """A KV that counts its revisions and can be away."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.puts = 0
        self.deletes = 0
        self.away = False
        self.asked = asyncio.Event()

    async def put(self, key: str, value: bytes) -> int:
        self._here()
        self.data[key] = value
        self.puts += 1
        return self.puts

    async def delete(self, key: str) -> None:
        self._here()
        self.data.pop(key, None)
        self.deletes += 1

    async def load_all(self) -> dict[str, bytes]:
        return dict(self.data)

    def _here(self) -> None:
        self.asked.set()
        if self.away:
            raise Unavailable("the bus is away")


Scenario = Callable[[Behind, Callable[[], Ledger]], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def play(scenario: Scenario) -> None:
        async def main() -> None:
            tasks: list[asyncio.Task[None]] = []

            def started() -> Ledger:
                for task in tasks:
                    task.cancel()  # as its process would have been killed
                ledger = Ledger(str(tmp_path / "records"), behind)
                tasks.append(asyncio.create_task(ledger.mirror()))
                return ledger

            behind = Behind()
            async with asyncio.timeout(20):
                await scenario(behind, started)
            for task in tasks:
                task.cancel()

        asyncio.run(main())

    return play


def test_the_kv_follows_with_one_revision_for_many_changes(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        assert await ledger.load_all() == {}
        for k in range(5):
            await ledger.put("sandboxes.a", b"%d" % k)
        await ledger.put("containers.b", b'"b"')
        await ledger.put("containers.c", b'"c"')
        await ledger.delete("containers.c")
        await ledger.flushed(5)
        assert behind.data == {"sandboxes.a": b"4", "containers.b": b'"b"'}
        assert behind.puts == 2
        await ledger.delete("sandboxes.a")
        await ledger.delete("sandboxes.a")
        await ledger.flushed(5)
        assert behind.data == {"containers.b": b'"b"'}

    play(scenario)


def test_what_the_kv_had_not_heard_is_made_good_after_a_kill(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        await ledger.load_all()
        await ledger.put("sandboxes.a", b'"old"')
        await ledger.put("sandboxes.removed", b'"x"')
        await ledger.flushed(5)
        await ledger.put("sandboxes.a", b'"new"')
        await ledger.put("containers.b", b'"b"')
        await ledger.delete("sandboxes.removed")
        ledger = started()
        assert await ledger.load_all() == {"sandboxes.a": b'"new"', "containers.b": b'"b"'}
        await ledger.flushed(5)
        assert behind.data == {"sandboxes.a": b'"new"', "containers.b": b'"b"'}

    play(scenario)


def test_a_kv_that_was_lost_is_filled_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        await ledger.load_all()
        await ledger.put("sandboxes.a", b'"a"')
        await ledger.flushed(5)
        behind.data.clear()
        ledger = started()
        assert await ledger.load_all() == {"sandboxes.a": b'"a"'}
        await ledger.flushed(5)
        assert behind.data == {"sandboxes.a": b'"a"'}

    play(scenario)


def test_after_the_host_was_down_the_kv_has_them(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        behind.data = {"sandboxes.a": b'"a"', "containers.b": b'"b"'}
        assert await started().load_all() == behind.data
        behind.data.clear()  # and from now on the files
        assert await started().load_all() == {"sandboxes.a": b'"a"', "containers.b": b'"b"'}

    play(scenario)


def test_changes_wait_while_the_bus_is_away(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        await ledger.load_all()
        behind.away = True
        await ledger.put("sandboxes.a", b"1")
        await behind.asked.wait()
        await ledger.put("sandboxes.a", b"2")
        behind.away = False
        await ledger.flushed(5)
        assert behind.data == {"sandboxes.a": b"2"}

    play(scenario)


def test_what_the_bus_forgot_while_it_was_away_is_told_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        await ledger.load_all()
        await ledger.put("sandboxes.a", b'"a"')
        await ledger.put("sandboxes.removed", b'"x"')
        await ledger.flushed(5)
        await ledger.delete("sandboxes.removed")
        await ledger.flushed(5)
        behind.data = {"sandboxes.removed": b'"x"'}  # as after a crash of its server
        ledger.doubt()
        await ledger.flushed(5)
        assert behind.data == {"sandboxes.a": b'"a"'}

    play(scenario)


def test_a_half_written_file_is_no_record(play: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        await started().load_all()
        (tmp_path / "records" / "sandboxes.a.json.1.new").write_bytes(b"hal")
        assert await started().load_all() == {}
        assert sorted(os.listdir(tmp_path / "records")) == [".files.0", "whole"]

    play(scenario)


def test_a_file_that_was_lost_or_spoilt_is_what_the_kv_has(play: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        first = started()
        await first.load_all()
        for name in ("spoilt", "cut", "lost", "removed"):
            await first.put(f"sandboxes.{name}", b'{"a":1}')
        await first.flushed(5)
        folder = tmp_path / "records"
        (folder / "sandboxes.spoilt.json").write_bytes(b"\0\xff\0")
        (folder / "sandboxes.cut.json").write_bytes(b'{"a"')
        for name in ("lost", "removed"):
            (folder / f"sandboxes.{name}.json").unlink()
        second = Ledger(str(folder), behind, lambda key: key == "sandboxes.lost")
        mirror = asyncio.create_task(second.mirror())
        assert sorted(await second.load_all()) == ["sandboxes.cut", "sandboxes.lost", "sandboxes.spoilt"]
        await second.flushed(5)
        mirror.cancel()
        assert sorted(behind.data) == ["sandboxes.cut", "sandboxes.lost", "sandboxes.spoilt"]
        assert set(behind.data.values()) == {b'{"a":1}'}

    play(scenario)


def test_no_room_is_said(play: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(behind: Behind, started: Callable[[], Ledger]) -> None:
        ledger = started()
        await ledger.load_all()
        (tmp_path / "records" / "sandboxes.a.json").mkdir()  # a rename that the kernel refuses
        with pytest.raises(ResourceExhausted, match="takes no record"):
            await ledger.put("sandboxes.a", b'"a"')

    play(scenario)
