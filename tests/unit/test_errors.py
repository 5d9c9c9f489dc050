import grpc
import pytest
from cribus import errors


def test_every_code_is_a_grpc_status() -> None:
    kinds = errors.CribusError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.code in grpc.StatusCode.__members__


def test_a_code_comes_back_as_its_class() -> None:
    with pytest.raises(errors.NotFound, match="gone"):
        raise errors.from_code("NOT_FOUND", "gone")
    assert isinstance(errors.from_code("FROM_THE_FUTURE", "x"), errors.Unknown)
