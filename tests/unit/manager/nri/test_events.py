"""The numbers and names of events are NRI's."""

from cribus.manager.nri.events import ALL, Event, is_set


def test_an_event_is_a_bit_one_less_than_its_number() -> None:
    assert is_set(0b1, Event.RUN_POD_SANDBOX)
    assert is_set(1 << 13, Event.VALIDATE_CONTAINER_ADJUSTMENT)
    assert not is_set(0b10, Event.RUN_POD_SANDBOX)
    assert ALL == 0x3FFF


def test_an_event_is_handled_by_the_call_of_its_name() -> None:
    assert Event.POST_UPDATE_POD_SANDBOX.method == "PostUpdatePodSandbox"
    assert Event.CREATE_CONTAINER.method == "CreateContainer"
