"""Know whether anything was sent to or by a guest, other than vtapd's own health checks."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from supervisor.edges.kernel.packet_counter import PacketCounter

_LATE_PROBES = 16
"""Of so many probes late packets do not count either: on a busy machine a guest may answer after the next probe."""


class Activity:
    """The packets of one guest. Owns the counters that it opens: `close` it."""

    def __init__(self) -> None:
        self._counters: Sequence[PacketCounter] = ()
        self._probes: deque[int] = deque(maxlen=_LATE_PROBES)
        self.is_probed = False
        """Whether a health check goes on. Its packets would wake a guest that falls asleep now."""

    def count(self, open_counters: Callable[[Sequence[int]], Sequence[PacketCounter]]) -> None:
        """Count from now on. `open_counters` takes the probes to leave out, and returns a counter for each tap."""
        self.close()
        self._counters = open_counters(tuple(self._probes))

    def close(self) -> None:
        """Count nothing any more."""
        for each in self._counters:
            each.close()
        self._counters = ()

    def leave_out(self, probe: int) -> None:
        """Leave out the packets of a health check, by its TCP port or echo identifier. Call it before they are sent."""
        self._probes.append(probe)
        for each in self._counters:
            with suppress(OSError):  # out of memory: this once they count
                each.leave_out(tuple(self._probes))

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Make one health check."""
        self.is_probed = True
        try:
            yield
        finally:
            self.is_probed = False

    def was_active(self) -> bool:
        """Return whether anything was sent since the last call."""
        taken = 0
        for each in self._counters:
            with suppress(OSError):  # its tap is gone
                taken += each.take()
        return taken > 0
