"""What a plugin that comes now must be told."""

import asyncio
import json
from pathlib import Path

from cribus.manager.nri.existing import Existing
from cribus.manager.records import Container, Records, Sandbox, State

from tests.unit.manager.conftest import Store


def existing(folder: Path, *records: Sandbox | Container) -> Existing:
    known = Records(Store())

    async def fill() -> None:
        for one in records:
            await known.put(one)

    asyncio.run(fill())
    return Existing(known, lambda id: str(folder / id))


def ids(one: Existing) -> tuple[list[str], list[str]]:
    moment = one.moment()
    return [pod.id for pod in moment.pods], [container.id for container, _ in moment.containers]


def test_what_is_there_and_not_what_comes_or_goes(tmp_path: Path) -> None:
    pods = [
        Sandbox(id=str(state), state=state) for state in (State.CREATING, State.READY, State.NOTREADY, State.REMOVING)
    ]
    states = (State.CREATING, State.CREATED, State.STARTING, State.RUNNING, State.STOPPING, State.EXITED)
    containers = [Container(id=f"c-{state}", pod="ready", state=state) for state in states]
    assert ids(existing(tmp_path, *pods, *containers)) == (
        ["ready", "notready"],
        ["c-created", "c-starting", "c-running", "c-stopping"],
    )


def test_what_plugins_were_asked_about_and_has_no_record_yet(tmp_path: Path) -> None:
    pod, container = Sandbox(id="p"), Container(id="c", pod="p")
    one = existing(tmp_path, pod, container)
    assert ids(one) == ([], [])
    one.note(pod, {})
    one.note(container, {"process": {"args": ["sh"]}})
    assert ids(one) == (["p"], ["c"])
    assert one.moment().containers[0][1]() == {"process": {"args": ["sh"]}}


def test_it_counts_once_when_its_record_is_there(tmp_path: Path) -> None:
    one = existing(tmp_path, Sandbox(id="p"))
    one.note(Sandbox(id="p"), {})
    asyncio.run(one.records.put(Sandbox(id="p", state=State.READY)))
    assert ids(one) == (["p"], [])


def test_what_did_not_come_to_be_is_forgotten(tmp_path: Path) -> None:
    one = existing(tmp_path, Sandbox(id="p"))
    one.note(Sandbox(id="p"), {})
    assert one.forget("p")
    assert not one.forget("p")
    assert ids(one) == ([], [])


def test_notes_do_not_pile_up(tmp_path: Path) -> None:
    one = existing(tmp_path, Sandbox(id="p"))
    for k in range(100):
        one.note(Sandbox(id=f"gone{k}"), {})
    one.note(Sandbox(id="p"), {})
    assert not one.forget("gone99")
    assert one.forget("p")


def test_the_spec_is_read_when_it_is_told(tmp_path: Path) -> None:
    one = existing(tmp_path, Container(id="c", pod="p", state=State.RUNNING))
    _, read = one.moment().containers[0]
    assert read() == {}
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text(json.dumps({"annotations": {"a": "b"}}))
    assert read() == {"annotations": {"a": "b"}}
