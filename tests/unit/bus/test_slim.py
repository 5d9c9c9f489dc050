"""The slim client against the real server: through kills, without stale requests."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.bus import slim as slims
from cribus.bus import wire
from cribus.bus.slim import Place, Slim
from cribus.errors import InvalidArgument

from tests.unit.bus.slim_rig import SlimRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SlimRig]:
    one = SlimRig(tmp_path)
    yield one
    one.kill()


def test_publish_and_subscribe(rig: SlimRig) -> None:
    shim, gateway = rig.slim("shim"), rig.slim("gateway")
    got: list[wire.Message] = []
    sid = shim.subscribe("cribus.unit.stream.x.s", got.append)
    rig.until(lambda: gateway.publish("cribus.unit.stream.x.s", b"one", headers={"K": "v"}) and got)
    assert got[0].payload == b"one"
    big = bytes(1_000_000)
    gateway.publish("cribus.unit.stream.x.s", big)
    rig.until(lambda: got[-1].payload == big)
    shim.unsubscribe(sid)
    shim.unsubscribe(sid)
    answered: list[int] = []
    gateway.answers["probe"] = lambda message: answered.append(message.status)
    rig.until(lambda: gateway.publish("cribus.unit.stream.x.s", b"?", gateway.reply_to("probe")) and answered)
    assert set(answered) == {wire.NO_RESPONDERS}
    assert got[-1].payload == big
    for one in (shim, gateway):
        one.close()


def test_back_at_once_with_its_subscriptions_and_nothing_stale(rig: SlimRig) -> None:
    shim, gateway = rig.slim("shim"), rig.slim("gateway")
    got: list[bytes] = []
    ups: list[float] = []
    shim.subscribe("cribus.unit.stream.x.s", lambda message: got.append(message.payload))
    shim.on_up.append(lambda: ups.append(time.monotonic()))
    rig.kill()
    rig.until(lambda: not shim.up and not gateway.up)
    assert not gateway.publish("cribus.unit.stream.x.s", b"stale")
    rig.loop.later(0.3, rig.start)
    begun = time.monotonic()
    rig.until(lambda: shim.up and gateway.up)
    assert ups[0] - begun < 2
    rig.until(lambda: gateway.publish("cribus.unit.stream.x.s", b"fresh") and got)
    assert set(got) == {b"fresh"}
    assert any("went away" in one for one in rig.complaints)
    for one in (shim, gateway):
        one.close()


def test_what_is_subscribed_while_the_server_is_greeted(rig: SlimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim's pod may be told to it between its introduction and the server's answer to that."""
    got: list[bytes] = []
    introduce = Slim._introduce

    def greeting(self: Slim, info: wire.Info) -> None:
        introduce(self, info)
        if self.place.service == "shim":
            assert not self.up
            sids.append(self.subscribe("cribus.unit.stream.x.s", lambda message: got.append(message.payload)))
            self.unsubscribe(self.subscribe("cribus.unit.stream.y.s", lambda message: got.append(b"left again")))

    sids: list[int] = []
    monkeypatch.setattr(Slim, "_introduce", greeting)
    shim, gateway = rig.slim("shim"), rig.slim("gateway")
    assert len(sids) == 1
    rig.until(lambda: gateway.publish("cribus.unit.stream.x.s", b"one") and got)
    gateway.publish("cribus.unit.stream.y.s", b"two")
    gateway.publish("cribus.unit.stream.x.s", b"three")
    rig.until(lambda: got[-1] == b"three")
    assert set(got) == {b"one", b"three"}
    for one in (shim, gateway):
        one.close()


def test_it_waits_for_a_bus_that_is_not_there_yet(rig: SlimRig) -> None:
    rig.kill()
    shim = rig.slim("shim", wait=False)
    rig.loop.later(0.2, rig.start)
    rig.until(lambda: shim.up)
    shim.close()


def test_a_peer_that_does_not_answer_is_left(rig: SlimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slims, "_PING", 0.05)
    shim = rig.slim("shim")
    assert rig.nats
    rig.nats.send_signal(19)  # SIGSTOP
    rig.until(lambda: not shim.up)
    rig.nats.send_signal(18)
    rig.until(lambda: shim.up)
    shim.close()


def test_refused_credentials_are_told_and_tried_again(rig: SlimRig, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"user":"unit-shim","password":"wrong"}')
    listen = rig.settings.bus.listen
    one = Slim(rig.loop, Place(f"nats://{listen}", "unit", "shim", str(path)), rig.complaints.append)
    one.open()
    rig.until(lambda: any("Authorization" in text for text in rig.complaints))
    path.write_text((tmp_path / "bus" / "shim.json").read_text())
    rig.until(lambda: one.up)
    one.close()


@pytest.mark.parametrize("url", ["tls://a:1", "a", "http://a:1", "nats://user:pw@a:1"])
def test_urls(rig: SlimRig, url: str) -> None:
    with pytest.raises(InvalidArgument, match="nats://host:port"):
        Slim(rig.loop, Place(url, "unit", "shim"), print)


def test_what_is_subscribed_at_any_moment_is_taken_when_it_says_so(rig: SlimRig) -> None:
    gateway, shim = rig.slim("gateway"), rig.slim("shim", wait=False)
    got: list[bytes] = []
    taken: list[str] = []

    def order(name: str) -> None:
        """Subscribe; nobody may be told before a message from elsewhere would arrive."""
        shim.subscribe(f"cribus.unit.stream.{name}.s", lambda message: got.append(message.payload))

        def said() -> None:
            taken.append(name)
            gateway.publish(f"cribus.unit.stream.{name}.s", name.encode())

        shim.when_taken(said)

    order("before")
    introduce = shim._introduce

    def introduced(info: wire.Info) -> None:
        introduce(info)
        order("while")  # sent, and not yet answered

    shim._introduce = introduced  # type: ignore[method-assign]
    rig.until(lambda: shim.up)
    order("after")
    rig.until(lambda: len(got) == 3)
    assert sorted(taken) == ["after", "before", "while"]
    shim._introduce = introduce  # type: ignore[method-assign]
    rig.kill()
    rig.until(lambda: not shim.up and not gateway.up)
    order("away")
    rig.start()
    rig.until(lambda: gateway.up and "away" in taken)
    for one in (shim, gateway):
        one.close()
