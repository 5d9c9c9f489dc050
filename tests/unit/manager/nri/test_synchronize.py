"""What exists, in as many messages as it needs."""

import asyncio

from cribus.manager.nri import messages as m
from cribus.manager.nri.existing import Moment
from cribus.manager.nri.frames import MOST
from cribus.manager.nri.protobuf import decode, encode
from cribus.manager.nri.synchronize import parts
from cribus.manager.records import Container, Sandbox
from cribus.oci.runtime_spec import Spec


def told(moment: Moment) -> list[m.SynchronizeRequest]:
    async def all() -> list[m.SynchronizeRequest]:
        return [one async for one in parts(moment)]

    return asyncio.run(all())


def test_nothing_is_one_message() -> None:
    assert told(Moment([], [])) == [m.SynchronizeRequest()]


def test_little_is_one_message() -> None:
    spec: Spec = {"process": {"args": ["sh"]}}
    (one,) = told(Moment([Sandbox(id="p")], [(Container(id="c", pod="p"), lambda: spec)]))
    assert [decode(m.PodSandbox, pod).id for pod in one.pods] == ["p"]
    assert [decode(m.Container, each).args for each in one.containers] == [["sh"]]
    assert not one.more


def test_much_is_several_and_each_fits() -> None:
    spec: Spec = {"process": {"args": ["x" * 1_000_000]}}
    made = [(Container(id=f"c{k}", pod="p"), lambda: spec) for k in range(10)]
    several = told(Moment([Sandbox(id="p")], made))
    assert [one.more for one in several] == [True, True, False]
    assert all(len(encode(one)) <= MOST - 256 for one in several)
    ids = [decode(m.Container, each).id for one in several for each in one.containers]
    assert ids == [f"c{k}" for k in range(10)]
