"""The whole of what was seen is a document."""

import json

from cribus.cli.storm import plan
from cribus.cli.storm.evidence import Finding, Hit, Result


def test_a_result_is_json() -> None:
    hit = Hit(plan.strike(1, 1, ["shim"]), 0.5, {"shim": 7}, {"shim": 0.1}, 0.2)
    result = Result(1, 2.0, [hit], 3, {"lines": 4}, {}, {"reset": 1}, [Finding("lines", "x")])
    found = json.loads(json.dumps(result.document()))
    assert found["hits"][0]["plan"]["victims"] == ["shim"]
    assert found["faults"] == {"reset": 1}
    assert found["findings"] == [{"check": "lines", "text": "x"}]
