import os

from cribus.shim import memo
from cribus.shim.memo import Memo


def test_the_next_one_reads_what_was_noted() -> None:
    fd = memo.new(b'{"what": "was asked"}')
    one = Memo(fd)
    assert (one[memo.PHASE], one.place(1), one.place(2), one.exec_id) == (memo.ASKED, None, None, "0" * 32)
    one[memo.PHASE] = memo.RUNS
    one[memo.ENTERED] = 1 << 40
    one.exec_id = "0123456789abcdef" * 2
    one.set_place(1, (3, 4, 5))
    one.set_place(1, (6, 7, 8))
    one.set_place(2, (9, 10, 11))
    one.set_place(2, None)
    one.close()
    again = Memo(fd)
    assert again.text == b'{"what": "was asked"}'
    assert (again[memo.PHASE], again[memo.ENTERED], again.exec_id) == (memo.RUNS, 1 << 40, "0123456789abcdef" * 2)
    assert (again.place(1), again.place(2)) == ((6, 7, 8), None)
    again.close()
    os.close(fd)


def test_a_place_that_is_half_written_does_not_count() -> None:
    fd = memo.new(b"")
    one = Memo(fd)
    one.set_place(2, (1, 2, 3))
    slots = memo.BEHIND[2] + 1
    one[slots + 3] = 99  # of the other slot
    assert one.place(2) == (1, 2, 3)
    one.close()
    os.close(fd)


def test_no_two_numbers_are_at_one_place() -> None:
    places = [memo.PHASE, memo.DEADLINE, memo.EXEC_ID, memo.EXEC_ID + 1, memo.ENTERED, memo.MOVING, memo.MOVING_LEVEL]
    for channel in (1, 2):
        places += [memo.ACKED[channel], memo.BASE[channel], *range(memo.BEHIND[channel], memo.BEHIND[channel] + 7)]
    assert len(set(places)) == len(places)
    assert max(places) < 64
