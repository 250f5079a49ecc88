"""How long a guest waits for its log, and what is counted as dropped."""

import re

from hypothesis import given
from hypothesis import strategies as st

from supervisor.container_log.gap import GapLine
from supervisor.container_log.patience import LogPatience

STEP_S = 0.02
LOOKS = st.lists(st.booleans(), max_size=400)


def missing_in(line: bytes | None) -> int:
    found = re.fullmatch(rb"\n\[vtapd: (\d+) bytes .*\]\n", line or b"")
    assert found is not None
    return int(found[1])


class TestLogPatience:
    def test_full_log_is_waited_for_once(self) -> None:
        patience = LogPatience(1.0)
        for look in range(50):
            patience.note_full(look * STEP_S)
            assert not patience.is_over
        patience.note_full(1.01)
        assert patience.is_over
        assert not patience.is_unread

    @given(LOOKS)
    def test_sum_of_the_waits_is_bounded_even_if_each_is_short(self, looks: list[bool]) -> None:
        """A log that always takes a little would otherwise slow the guest down to its own pace."""
        patience, waited_s = LogPatience(1.0), 0.0
        for number, full in enumerate(looks):
            now_s = number * STEP_S
            if not full:
                patience.note_room(now_s)
            elif not patience.is_over:
                before = number > 0 and looks[number - 1]
                waited_s += STEP_S if before else 0.0
                patience.note_full(now_s)
        has_kept_pace = "0" * 51 in "".join("1" if full else "0" for full in looks)
        assert waited_s <= 1.0 + STEP_S or has_kept_pace

    def test_log_that_keeps_pace_gets_the_whole_time_again(self) -> None:
        patience = LogPatience(1.0)
        for look in range(60):
            patience.note_full(look * STEP_S)
        patience.note_room(2.0)
        assert patience.is_over
        patience.note_room(3.1)
        assert not patience.is_over

    def test_time_in_which_the_program_was_stopped_is_not_counted(self) -> None:
        patience = LogPatience(1.0)
        patience.note_full(0.0)
        patience.note_full(100.0)
        assert not patience.is_over

    def test_log_is_read_again_once_nothing_was_dropped_for_a_while(self) -> None:
        patience = LogPatience(1.0)
        assert patience.note_read(0.0) is None
        patience.note_dropped(10, 1.0)
        patience.note_dropped(20, 2.0)
        assert patience.is_unread
        assert patience.is_over
        assert patience.note_read(3.0) is None
        assert patience.note_read(7.5) == 30
        assert not patience.is_over
        assert patience.note_read(9.0) is None


class TestGapLine:
    def test_line_that_was_not_read_is_counted_on(self) -> None:
        """Also if another program has written it: the reaper, or an earlier daemon."""
        gap = GapLine()
        assert gap.count_taken(b"x" * 100) == 100
        first = gap.due or b""
        assert missing_in(first) == 100
        for later in (gap, GapLine()):
            later.due = None
            assert later.count_taken(b"z" + first + b"y" * 50) == 51
            assert missing_in(later.due) == 151

    def test_line_that_was_read_begins_a_new_count(self) -> None:
        gap = GapLine()
        gap.count_taken(b"x" * 100)
        gap.due = None
        assert gap.count_taken(b"y" * 50) == 50
        assert missing_in(gap.due) == 50

    def test_line_that_was_never_written_is_counted_on(self) -> None:
        gap = GapLine()
        gap.count_taken(b"x" * 100)
        assert gap.count_taken(b"y" * 50) == 50
        assert missing_in(gap.due) == 150

    def test_terminal_counts_what_fits(self) -> None:
        gap = GapLine()
        assert gap.count_discarded(70, 100) == 70
        gap.due = None
        assert gap.count_discarded(0, 100) == 100
        assert missing_in(gap.due) == 170
        gap.due = None
        assert gap.count_discarded(1000, 100) == 100
        assert missing_in(gap.due) == 100
