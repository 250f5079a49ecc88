"""The line in a log that says how much is missing at its place."""

import re

_WORDS = "bytes of output are missing here, because this log was not read"
_LINE = re.compile(rb"\n\[vtapd: (\d{1,15}) %s\]\n" % _WORDS.encode())


class GapLine:
    """Counts what is missing, and writes the line.

    The line is written first into the room that a drop has made. If the log is still not read, the next drop takes the
    line out again, and the next line counts what both have dropped; so it does not matter who has written the first.
    """

    def __init__(self) -> None:
        self.due: bytes | None = None
        """The line that is to be written; None if it was written. The writer sets it to None."""
        self._missing = 0

    def count_taken(self, taken: bytes) -> int:
        """Return how much output was in what a drop took out. The line for it is due then."""
        lines = [*_LINE.finditer(taken)]
        count = len(taken) - sum(len(each[0]) for each in lines)
        unwritten = self._missing if self.due is not None else 0
        self._note(unwritten + sum(int(each[1]) for each in lines) + count)
        return count

    def count_discarded(self, printed: int, capacity: int) -> int:
        """The same if what a drop took out cannot be seen. `printed` since the last drop; `capacity` fits at most."""
        count = min(printed or capacity, capacity)
        was_read = self.due is None and printed > capacity
        self._note(count if was_read else self._missing + count)
        return count

    def _note(self, missing: int) -> None:
        self._missing = missing
        self.due = f"\n[vtapd: {missing} {_WORDS}]\n".encode()
