from cribus.api.trace import Span
from cribus.bus.collected import Collected


def test_what_is_news_waits_up_to_a_number() -> None:
    waiting = Collected(2)
    assert not waiting.add(Span(name="manager.list_containers", began=1, took=1))
    added = [waiting.add(Span(name="manager.run_sandbox", began=1, took=1, id=id)) for id in "abc"]
    assert added == [True, True, False]
    assert ([one.id for one in waiting.spans], waiting.lost) == (["a", "b"], 1)
