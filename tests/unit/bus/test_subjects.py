import pytest
from cribus.api.executor import CREATE_POD
from cribus.api.shim import EXEC_SYNC
from cribus.bus import subjects
from cribus.errors import InvalidArgument


def test_a_verb_has_one_subject() -> None:
    assert subjects.verb("n", CREATE_POD) == "cribus.n.executor.create_pod"
    assert subjects.verb("n", EXEC_SYNC, "abc") == "cribus.n.shim.exec_sync.abc"


@pytest.mark.parametrize("id", ["", "a.b", "*", ">", "a b"])
def test_an_id_cannot_widen_a_subject(id: str) -> None:
    with pytest.raises(InvalidArgument):
        subjects.verb("n", EXEC_SYNC, id)
