"""Bound how often a container's tap is made again, if something in the container deletes it again and again."""

from supervisor.core.attach.actions import CreateTap, DeleteTap
from supervisor.core.attach.state import Seen
from supervisor.core.backoff import Backoff
from supervisor.core.links import IfIndex

_FREE = 3
"""So many taps in a row are made again at once."""
_DELAYS = Backoff(first_s=1.0, last_s=30.0)
_FORGIVEN_AFTER_S = 60.0


class Losses:
    """How often taps of one container were lost lately: made by vtapd, and deleted by something else.

    Times are seconds of any clock that never goes back.
    """

    def __init__(self) -> None:
        self._made = set[IfIndex]()
        """The interfaces on which a tap was made that vtapd did not delete."""
        self._count = 0
        self._last_s = 0.0

    def wait_s(self, action: CreateTap, now_s: float) -> float:
        """Return in how many seconds this tap may be made; 0 if it may be made now.

        If one was made there before, it was lost.
        """
        if action.interface.index in self._made:
            self._made.remove(action.interface.index)
            self._count = 1 if now_s - self._last_s > _FORGIVEN_AFTER_S else self._count + 1
            self._last_s = now_s
        if self._count <= _FREE:
            return 0.0
        return max(0.0, self._last_s + _DELAYS.delay_s(self._count - _FREE) - now_s)

    def note(self, action: CreateTap | DeleteTap, seen: Seen) -> None:
        """The action was done, after `seen`."""
        if isinstance(action, CreateTap):
            self._made.add(action.interface.index)
        else:
            self._made -= {each.interface.index for each in seen.interfaces if each.tap == action.tap}
