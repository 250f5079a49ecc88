"""Measure how long an attachment took, from Docker's event of the start."""

import time


class AttachTimer:
    """Measures each start once, however often its event arrives."""

    def __init__(self) -> None:
        self._started_ns: int | None = None
        """The start that is being measured, by Docker's clock."""
        self._last_start_ns = 0

    def note_start(self, time_ns: int) -> None:
        """The container started then; an event that comes late or twice changes nothing."""
        if time_ns > self._last_start_ns:
            self._started_ns = self._last_start_ns = time_ns

    def stop(self) -> float | None:
        """The container is attached: return the seconds since its start, or None if that was measured before."""
        if self._started_ns is None:
            return None
        seconds = (time.time_ns() - self._started_ns) / 1e9
        self._started_ns = None
        return max(0.0, seconds)
