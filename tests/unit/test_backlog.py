"""The console backlog: the guest's output in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.report.backlog import Backlog, Tail

ITEMS: st.SearchStrategy[list[bytes | str]] = st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=10)))


class TestTail:
    @given(st.lists(st.binary(max_size=30)))
    def test_tail_keeps_the_last_bytes(self, pieces: list[bytes]) -> None:
        tail = Tail(20)
        for piece in pieces:
            tail.add(piece)
        assert tail.text() == b"".join(pieces)[-20:].decode("utf-8", "replace")

    @given(st.text("ab\n", max_size=30), st.integers(0, 30), st.integers(0, 30))
    def test_earlier_output_is_recalled_once(self, printed: str, heard_from: int, recalled_to: int) -> None:
        """The end of what is recalled was heard already. Nothing is lost, whatever the output repeats."""
        heard_from = min(heard_from, len(printed), recalled_to)
        tail = Tail(100)
        tail.add(printed[heard_from:].encode())
        tail.recall(printed[:recalled_to].encode())
        assert printed.endswith(printed[heard_from:])
        assert len(tail.text()) <= len(printed)
        assert tail.text().startswith(printed[:recalled_to])
        assert tail.text().endswith(printed[heard_from:])

    def test_recalled_output_is_put_in_front(self) -> None:
        tail = Tail(12)
        tail.add(b"line 2\nline 3\n")
        tail.recall(b"line 1\nline 2\n")
        assert tail.text() == "ne 2\nline 3\n"
        tail = Tail(100)
        tail.recall(b"line 1\n")
        tail.add(b"line 2\n")
        assert tail.text() == "line 1\nline 2\n"


class TestBacklog:
    @given(ITEMS)
    def test_items_are_taken_in_order(self, items: list[bytes | str]) -> None:
        backlog = Backlog()
        for item in items:
            backlog.put(item)
        taken: list[bytes | str] = list(iter(backlog.take, None))
        assert flat(taken) == flat(items)
        assert backlog.take() is None

    def test_output_is_joined_up_to_the_maximum_size(self) -> None:
        backlog = Backlog()
        for item in (b"a" * 40000, b"b" * 25536, b"c", "word", b"d"):
            backlog.put(item)
        assert [len(item) for item in iter(backlog.take, None)] == [65536, 1, 4, 1]

    def test_overrun_backlog_gives_nothing_more(self) -> None:
        backlog = Backlog(10)
        backlog.put(b"12345")
        backlog.put("67890")
        assert not backlog.overrun
        backlog.put(b"1")
        assert (backlog.overrun, backlog.take()) == (True, None)
        backlog.put(b"2")
        assert backlog.take() is None

    def test_backlog_that_is_read_is_never_overrun(self) -> None:
        backlog = Backlog(10)
        for _ in range(100):
            backlog.put(b"12345")
            backlog.put(b"67890")
            assert backlog.take() == b"1234567890"
        assert not backlog.overrun


def flat(items: list[bytes | str]) -> list[int | str]:
    return [each for item in items for each in item]
