"""Decide when a guest stops waiting for its log.

The log gets a bounded time in all. It is full again as soon as a reader that is too slow has taken a little, so each
wait for itself may be short and the guest would still be slowed down to the pace of its log.
"""

_LONGEST_STEP_S = 0.1
"""What one look can add to the time that was waited: between two looks this program may itself have been stopped."""
_KEEPS_PACE_S = 1.0
"""A log that had room for so long gets the whole time again."""
_READ_AGAIN_S = 5.0
"""A log counts as read again once nothing was dropped for so long."""


class LogPatience:
    """The patience with one log. Times are seconds of one clock."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._waited_s = 0.0
        self._full_at_s: float | None = None
        self._room_since_s: float | None = None
        self._dropped_at_s: float | None = None
        self._dropped_bytes = 0

    @property
    def is_unread(self) -> bool:
        """Whether output was dropped, and the log was not read as fast as the guest printed since."""
        return self._dropped_at_s is not None

    @property
    def is_over(self) -> bool:
        """Whether a full log is not waited for now."""
        return self.is_unread or self._waited_s >= self._patience_s

    def note_full(self, now_s: float) -> None:
        """The log has no room now."""
        self._room_since_s = None
        if self._full_at_s is not None:
            self._waited_s += min(now_s - self._full_at_s, _LONGEST_STEP_S)
        self._full_at_s = now_s

    def note_room(self, now_s: float) -> None:
        """The log has room now."""
        self._full_at_s = None
        if self._room_since_s is None:
            self._room_since_s = now_s
        if now_s - self._room_since_s >= _KEEPS_PACE_S:
            self._waited_s = 0.0

    def note_dropped(self, count: int, now_s: float) -> None:
        """So many bytes were dropped, to make room."""
        self._dropped_bytes += count
        self._dropped_at_s = now_s
        self._full_at_s = None

    def note_read(self, now_s: float) -> int | None:
        """The log was read since the last drop. Once that lasts, return what was dropped, and be patient again."""
        if self._dropped_at_s is None or now_s - self._dropped_at_s < _READ_AGAIN_S:
            return None
        dropped, self._dropped_bytes = self._dropped_bytes, 0
        self._dropped_at_s, self._waited_s = None, 0.0
        return dropped
