"""The page as a whole."""

import pytest
from cribus.cli.story import page
from cribus.cli.story.causes import CAUSE, NOTE, Cause
from cribus.cli.story.timeline import Entry, Part

from tests.unit.cli.story.tales import BEGIN, story


def test_causes_first_then_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Cause(CAUSE, "it was killed", "look there"), Cause(NOTE, "and another thing")]
    steps = [("network", 9_000_000), ("files", 10_000)]
    entries = [Entry(BEGIN, "RunPodSandbox web", 12_000_000, "asked by x", "no", (Part("manager", 9_500_000, steps),))]
    page.show(story(), found, entries)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "pod web in shop  aaaaaaaaaaaaa  ready, 1m old, on node unit"
    assert out[2:6] == [
        "✗ it was killed",
        "  → look there",
        "· and another thing",
        "  app  ccccccccccccc  running  a/b:1",
    ]
    assert out[7].endswith(".000      12.0 ms  RunPodSandbox web  asked by x")
    assert out[8].strip() == "✗ no"
    assert out[9].split() == ["9.5", "ms", "manager", "network", "9.0", "·", "files"]


def test_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    page.show(story(), [], [Entry(BEGIN + k, f"entry {k}") for k in range(70)])
    out = capsys.readouterr().out
    assert "nothing is wrong as far as cribus knows: the pod is ready" in out
    assert "10 earlier entries" in out
    assert "entry 9\n" not in out
    assert "entry 69\n" in out
