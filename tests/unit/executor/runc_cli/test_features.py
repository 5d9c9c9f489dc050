import json

import pytest
from cribus.executor.runc_cli import features
from cribus.executor.runtimes.features import read


def test_what_our_own_reader_makes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    features.features()
    said = json.loads(capsys.readouterr().out)
    assert read(said).recursive_readonly
    assert read(said).idmapped
    assert "poststop" in said["hooks"]
    assert "CAP_CHOWN" in said["linux"]["capabilities"]
    assert "SCMP_ACT_ERRNO" in said["linux"]["seccomp"]["actions"]
