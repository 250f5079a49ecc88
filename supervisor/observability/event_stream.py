"""Pass the lines that the daemon logs to followers (`vtapd events`). A slow follower never blocks the daemon."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import structlog

from supervisor.core.report.events import Waiting, format_event
from supervisor.edges.clock import boottime_s, utc_of

MOST_KEPT = 1000
"""How many events are kept, for those who ask what happened before."""
FOLLOWED = logging.INFO
"""Lines of this level and above are passed on, whatever the log's own level."""
Wanted = Callable[[structlog.types.EventDict], bool]


class Follower:
    """A follower; made by `Broadcast.follow`."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._waiting = Waiting()
        self._woken = anyio.Event()

    def put(self, event: structlog.types.EventDict, line: bytes) -> None:
        if self._wanted(event):
            self._waiting.put(line)
            self._woken.set()

    async def next(self, timeout_s: float = math.inf) -> bytes | None:
        """Return the next line, or None if there is none in that time."""
        with anyio.move_on_after(timeout_s):
            while (line := self._waiting.take()) is None:
                self._woken = anyio.Event()
                await self._woken.wait()
            return line
        return None


class Broadcast:
    """Passes log lines to its followers, in the thread of the event loop."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()
        self._kept: deque[tuple[float, structlog.types.EventDict, bytes]] = deque(maxlen=MOST_KEPT)
        """Each with its time, in seconds since boot."""

    @contextmanager
    def follow(self, wanted: Wanted, past_s: float = 0.0) -> Iterator[Follower]:
        """Add a follower for as long as the context lasts. It gets the kept events of so many seconds first."""
        follower = Follower(wanted)
        since_s = boottime_s() - past_s
        for at_s, event, line in self._kept:
            if at_s >= since_s:
                follower.put(event, line)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def publish(self, _: object, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        """Pass the line on. A processor of structlog's; it changes nothing."""
        if structlog.processors.NAME_TO_LEVEL[method] >= FOLLOWED:
            now_s = boottime_s()
            line = format_event(event, utc_of(now_s))
            self._kept.append((now_s, {"container": event.get("container")}, line))
            for follower in self._followers:
                follower.put(event, line)
        return event


BROADCAST = Broadcast()
"""One a process, as structlog's configuration is."""
