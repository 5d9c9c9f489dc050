"""Records in the store and in memory."""

import pytest
from cribus.errors import InvalidArgument, NotFound
from cribus.manager.records import Container, Records, Sandbox, State

from tests.unit.manager.conftest import Run, Store


def test_what_is_written_is_read_again(run: Run) -> None:
    async def story() -> None:
        store = Store()
        records = Records(store)
        await records.put(Sandbox(id="a1", name="pod", state=State.READY))
        await records.put(Container(id="b1", pod="a1", name="box"))
        fresh = Records(store)
        await fresh.load()
        assert (fresh.sandboxes, fresh.containers) == (records.sandboxes, records.containers)
        assert fresh.owner("pod") == "a1"
        assert [one.id for one in fresh.in_pod("a1")] == ["b1"]

    run(story())


def test_an_unreadable_record_hinders_no_other(run: Run) -> None:
    async def story() -> None:
        store = Store()
        records = Records(store)
        await records.put(Sandbox(id="a1"))
        store.data["containers.x"] = b"\xff"
        fresh = Records(store)
        await fresh.load()
        assert list(fresh.sandboxes) == ["a1"]
        assert not fresh.containers

    run(story())


def test_names_follow_the_records(run: Run) -> None:
    async def story() -> None:
        records = Records(Store())
        await records.put(Sandbox(id="a1", name="pod"))
        await records.put(Sandbox(id="a1", name=""))
        assert records.owner("pod") == ""
        await records.put(Sandbox(id="a2", name="pod"))
        await records.delete(Sandbox(id="a2", name="pod"))
        assert records.owner("pod") == ""
        await records.delete(Sandbox(id="a2", name="pod"))

    run(story())


def test_ids_may_be_short(run: Run) -> None:
    async def story() -> None:
        records = Records(Store())
        await records.put(Sandbox(id="abc1"))
        await records.put(Sandbox(id="abd2"))
        assert records.sandbox("abc").id == "abc1"
        with pytest.raises(NotFound, match="there is no pod"):
            records.sandbox("x")
        for several, sentence in (("ab", "beginning of 2"), ("", "empty")):  # to stop and remove, NotFound is success
            with pytest.raises(InvalidArgument, match=sentence):
                records.sandbox(several)
        with pytest.raises(NotFound, match="container"):
            records.container("abc1")

    run(story())


def test_no_lock_is_kept_for_nobody() -> None:
    records = Records(Store())
    held = records.writing("a")
    assert records.writing("a") is held
    del held
    assert not records._writing
