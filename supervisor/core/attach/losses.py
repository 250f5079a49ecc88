"""Bound how often a container's tap is made again, if something in the container deletes it again and again."""

from supervisor.core.backoff import Backoff

_FREE = 3
"""So many taps in a row are made again at once."""
_DELAYS = Backoff(first_s=1.0, last_s=30.0)
_FORGIVEN_AFTER_S = 60.0


class Losses:
    """How often taps of one container were lost lately. Times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._count = 0
        self._last_s = 0.0

    def note(self, now_s: float) -> None:
        """A tap was lost."""
        if now_s - self._last_s > _FORGIVEN_AFTER_S:
            self._count = 0
        self._count += 1
        self._last_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return in how many seconds a tap may be made again; 0 if it may be made now."""
        if self._count <= _FREE:
            return 0.0
        return max(0.0, self._last_s + _DELAYS.delay_s(self._count - _FREE) - now_s)
