"""Events for `vtapd events`: log lines that wait for a follower, in bounded memory."""

import json
from collections import deque
from collections.abc import Mapping

MOST_WAITING = 2000
"""As many as are kept for those who ask what happened before, and as many again."""
LOST = "events_lost"
"""The event that stands for those that a follower was too slow for."""


class Waiting:
    """The lines that one follower has not taken yet, oldest first. Beyond `most` new lines are dropped and counted."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._lines: deque[bytes] = deque()
        self._lost = 0

    def put(self, line: bytes) -> None:
        if self._lost or len(self._lines) >= self._most:
            self._lost += 1  # also the later ones, so that the loss is reported where it happened
        else:
            self._lines.append(line)

    def take(self) -> bytes | None:
        """Return the next line, or one that says how many were lost, or None."""
        if self._lines:
            return self._lines.popleft()
        if not self._lost:
            return None
        lost, self._lost = self._lost, 0
        return format_event({"event": LOST, "level": "warning", "count": lost}, "")


def format_event(event: Mapping[str, object], time: str) -> bytes:
    """Return one line of JSON. `event`: a log line's keys; `time`: ISO 8601, or empty if not known."""
    known = {"time": time or None, "event": event.get("event"), "container": event.get("container")}
    rest = {key: value for key, value in event.items() if key not in known}
    return json.dumps(known | rest, default=repr).encode() + b"\n"
