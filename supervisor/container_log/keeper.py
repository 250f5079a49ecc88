"""Keep room in one log: look at it now and then, and drop what is unread once the patience with it is over."""

from supervisor.container_log.files import ContainerLog
from supervisor.container_log.gap import GapLine
from supervisor.container_log.patience import LogPatience

_LOOK_FULL_S = 0.02


class LogKeeper:
    """Owns the log."""

    def __init__(self, log: ContainerLog, patience_s: float) -> None:
        self.dropped_bytes = 0
        """By this keeper."""
        self.full_at_s: float | None = None
        """When the log was seen full last."""
        self.printed_bytes = 0
        """What the guest has printed since the last drop, as far as the caller knows; the caller adds to it."""
        self.read_again: int | None = None
        """Set by `look`: what was dropped, if the log is now read again."""
        self._log = log
        self._patience = LogPatience(patience_s)
        self._gap = GapLine()

    def close(self) -> None:
        self._log.close()

    @property
    def is_unread(self) -> bool:
        """Whether output was dropped, and the log was not read as fast as the guest printed since."""
        return self._patience.is_unread

    @property
    def is_impatient(self) -> bool:
        """Whether a full log is not waited for now. Then each piece of output is a reason to look."""
        return self._patience.is_over

    def look(self, now_s: float) -> float | None:
        """Look at the log, and make room if need be. Return in how many seconds to look again; None: after an event."""
        self.read_again = None
        if self._log.has_room():
            self._note_room(now_s)
            return None
        self.full_at_s = now_s
        self._patience.note_full(now_s)
        if not self._patience.is_over:
            return _LOOK_FULL_S
        self._drop(now_s)
        return None

    def _note_room(self, now_s: float) -> None:
        self._patience.note_room(now_s)
        self._write_line()
        if self.printed_bytes > self._log.capacity_bytes or self._log.is_empty():
            self.read_again = self._patience.note_read(now_s)

    def _drop(self, now_s: float) -> None:
        taken = self._log.take()
        if taken is None:
            count = self._gap.count_discarded(self.printed_bytes, self._log.capacity_bytes)
        else:
            count = self._gap.count_taken(taken)
        self.printed_bytes = 0
        self.dropped_bytes += count
        self._patience.note_dropped(count, now_s)
        self._write_line()

    def _write_line(self) -> None:
        if self._gap.due is not None and self._log.write(self._gap.due):
            self._gap.due = None
