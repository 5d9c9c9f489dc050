import time
from pathlib import Path

import pytest
from cribus import pulse
from cribus.api.executor import CREATE_POD, EXEC, CreatePod, IdMap, PodCreated
from cribus.api.shim import ExecSyncDone
from cribus.bus import codec
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unknown
from cribus.pulse import Own, Page


def test_round_trip_keeps_bytes_and_nested_structures() -> None:
    done = ExecSyncDone(stdout=b"\x00\xff", exit_code=3)
    [packed] = codec.pack_reply(done)
    assert codec.result(ExecSyncDone, codec.Answer().feed(packed) or {}) == done
    pod = CreatePod(pod="x", uids=[IdMap(container=0, host=1, size=2)])
    meta, body = codec.unpack_request(codec.pack_request(codec.Meta(id="r", deadline=5), pod))
    assert (meta.id, meta.deadline) == ("r", 5)
    assert codec.to_message(CreatePod, body) == pod


def test_parts_arrive_in_any_order() -> None:
    parts = codec.pack_reply(PodCreated(cgroup="z" * (3 * codec.MAX_PAYLOAD)))
    assert len(parts) > 3
    answer = codec.Answer()
    whole = [answer.feed(part) for part in reversed([*parts, parts[0]])]
    assert [one for one in whole if one]


def test_unknown_fields_are_ignored_and_unknown_codes_kept() -> None:
    assert codec.to_message(CreatePod, {"pod": "x", "future": 1}).pod == "x"
    with pytest.raises(Unknown):
        codec.result(PodCreated, {"code": "BRAND_NEW", "message": "m"})
    with pytest.raises(NotFound, match="gone"):
        codec.result(PodCreated, codec.Answer().feed(codec.pack_error(NotFound("gone"))[0]) or {})


def test_rubbish_and_oversize_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        codec.unpack_request(b"\xc1")
    with pytest.raises(InvalidArgument, match="fit into one message"):
        codec.pack_request(codec.Meta(), CreatePod(pod="x" * 800_000))


@pytest.mark.parametrize("jump", [-(10**18), 10**18])
def test_a_deadline_stays_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    def asked(seconds: float) -> codec.Meta:
        until, deadline = codec.within(seconds)
        return codec.Meta(until=until, deadline=deadline)

    in_time, over = asked(60), asked(-1)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + jump)
    assert (in_time.late, over.late) == (False, True)


def test_a_deadline_of_a_version_that_knows_one_clock() -> None:
    assert codec.Meta(deadline=time.time_ns() - 1).late
    assert not codec.Meta(deadline=time.time_ns() + 10**10).late
    assert not codec.Meta().late


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    (tmp_path / "supervisor").mkdir()
    one = Page(str(tmp_path))
    one.ensure()
    monkeypatch.setattr(pulse, "own", Own(one, "executor", one.begin("executor")))
    return one


def test_an_answer_says_of_which_generation_it_is(page: Page) -> None:
    answer = codec.Answer().feed(codec.pack_reply(PodCreated())[0]) or {}
    assert answer["generation"] == page.generation("executor")
    assert codec.counts(CREATE_POD, answer)
    page.begin("executor")
    assert not codec.counts(CREATE_POD, answer), "it can be asked again"
    assert codec.counts(EXEC, answer), "it was done, and cannot be asked again"
    refused = codec.Answer().feed(codec.pack_error(NotFound("gone"))[0]) or {}
    assert refused["generation"] == answer["generation"]
    assert codec.counts(CREATE_POD, {"code": "", "body": {}}), "of a version that counted none"


def test_a_request_of_one_that_has_a_successor_is_refused(page: Page) -> None:
    codec.refuse_stale(codec.Meta())
    codec.refuse_stale(codec.Meta(program="shim", generation=4))
    now = page.generation("executor")
    codec.refuse_stale(codec.Meta(program="executor", generation=now))
    page.begin("executor")
    with pytest.raises(FailedPrecondition, match="nothing was done"):
        codec.refuse_stale(codec.Meta(program="executor", generation=now))
