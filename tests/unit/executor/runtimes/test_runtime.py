from cribus.executor.runtimes.external import External
from cribus.executor.runtimes.native import Native
from cribus.executor.runtimes.runtime import Runtime


def test_both_are_runtimes() -> None:
    runtimes: list[Runtime] = [Native(), External()]
    asked = [name for name in vars(Runtime) if not name.startswith("_")]
    assert asked == ["create", "start", "signal", "pause", "resume", "update", "clear"]
    assert all(callable(getattr(one, name)) for one in runtimes for name in asked)
