"""What a shim did: one message a moment later, kept while the bus is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus import steps
from cribus.api.trace import Batch
from cribus.bus import codec, slim_trace
from cribus.bus.slim_trace import Trace

from tests.unit.bus.slim_rig import SlimRig

STEP = steps.Step("shim.unit.trace")
OFTEN = steps.Step("shim.exec.unit")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SlimRig]:
    one = SlimRig(tmp_path)
    yield one
    one.kill()


def test_a_batch_waits_for_the_bus(rig: SlimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slim_trace, "_AGAIN", 0.05)
    monkeypatch.setattr(slim_trace, "_MOST", 2)
    shim = rig.slim("shim")
    trace = Trace(shim)
    monkeypatch.setattr(steps, "heard", trace.heard)
    rig.kill()
    rig.until(lambda: not shim.up)
    for id in ("a", "b", "c"):
        with STEP.of(id), OFTEN.of(id):
            pass
    trace.flush()
    assert [span.id for span in trace._waiting.spans] == ["a", "b"]
    rig.start()
    rig.until(lambda: not trace._waiting.spans)
    shim.close()


def test_what_is_sent(rig: SlimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = rig.slim("shim")
    sent: list[Batch] = []

    def publish(subject: str, payload: bytes) -> bool:
        assert subject == "cribus.unit.trace.shim"
        sent.append(codec.unpack_message(Batch, payload))
        return True

    monkeypatch.setattr(shim, "publish", publish)
    trace = Trace(shim)
    monkeypatch.setattr(steps, "heard", trace.heard)
    with pytest.raises(OSError, match="x"), STEP.of("c"):
        raise OSError("x")
    rig.until(lambda: sent)
    assert [(span.name, span.id, span.failure) for span in sent[0].spans] == [("shim.unit.trace", "c", "OSError: x")]
    trace.flush()
    assert len(sent) == 1
    shim.close()
