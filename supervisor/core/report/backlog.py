"""A guest's output in bounded memory: its end, for later, and what a viewer has yet to get."""

from collections import deque

MOST_BYTES = 1 << 18
"""How far behind a viewer may be."""
TAIL_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_OVERLAP_BYTES = 1 << 13
"""How far two pieces of output may overlap. A search takes milliseconds at the most."""


class Tail:
    """The last bytes of a stream."""

    def __init__(self, most_bytes: int = TAIL_BYTES) -> None:
        self._most = most_bytes
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._kept += data[-self._most :]
        if len(self._kept) > 2 * self._most:  # not at each byte
            del self._kept[: -self._most]

    def recall(self, before: bytes) -> None:
        """Put in front what was printed before. It may end with the beginning of what is here: that is kept once."""
        known = bytes(self._kept[:_OVERLAP_BYTES])
        ending = before[-_OVERLAP_BYTES:]
        shared = next(n for n in range(min(len(known), len(ending)), -1, -1) if ending.endswith(known[:n]))
        self._kept[:0] = before[: len(before) - shared]
        del self._kept[: -self._most]

    def text(self) -> str:
        """Return them as text. Bytes that are not UTF-8 are replaced."""
        return bytes(self._kept[-self._most :]).decode("utf-8", "replace")


class Backlog:
    """Output as bytes, and notes about it as text, in their order. A viewer that falls too far behind gets no more."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.overrun = False
        self._most = most_bytes
        self._items: deque[bytes | str] = deque()
        self._size = 0

    def put(self, item: bytes | str) -> None:
        if self.overrun or not item:
            return
        self._size += len(item)
        if self._size > self._most:
            self.overrun = True
            self._items.clear()
        else:
            self._items.append(item)

    def take(self) -> bytes | str | None:
        """Return the next note, or the output before it up to a limit; None if there is nothing."""
        if not self._items:
            return None
        first = self._items.popleft()
        if isinstance(first, bytes):
            while self._items and isinstance(more := self._items[0], bytes) and len(first) + len(more) <= _PIECE_BYTES:
                first += more
                self._items.popleft()
        self._size -= len(first)
        return first
