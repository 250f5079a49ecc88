"""Know whether anything was sent to or by a guest, other than vtapd's own health checks."""

from collections.abc import Iterable
from contextlib import suppress

from supervisor.edges.kernel.packet_counter import PacketCounter


class Activity:
    """The packets of one guest. Owns the counters that it is given: `close` it."""

    def __init__(self) -> None:
        self._counters: tuple[PacketCounter, ...] = ()
        self._is_active = False
        self._is_checked = False
        """A health check goes on: what is sent now says nothing."""

    def count_by(self, counters: Iterable[PacketCounter]) -> None:
        """Count by these from now on, in place of those before."""
        self.close()
        self._counters = tuple(counters)

    def close(self) -> None:
        """Count nothing any more."""
        for each in self._counters:
            each.close()
        self._counters = ()
        self._is_active = self._is_checked = False

    def begin_check(self) -> None:
        """Begin a health check."""
        self._is_active = self._is_active or self._taken() > 0
        self._is_checked = True

    def end_check(self) -> None:
        """End it. What was sent meanwhile does not count."""
        if self._is_checked:
            self._taken()
            self._is_checked = False

    def was_active(self) -> bool:
        """Return whether anything was sent since the last call."""
        active = self._is_active or (not self._is_checked and self._taken() > 0)
        self._is_active = False
        return active

    def _taken(self) -> int:
        taken = 0
        for each in self._counters:
            with suppress(OSError):  # its tap is gone
                taken += each.take()
        return taken
