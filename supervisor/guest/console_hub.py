"""Those who watch a container's guest on its console (`vtapd console`), and the one of them who types.

They stay while guests come and go, and go with the container. None of them holds the guest up: a viewer who is too slow
is parted with, and what a guest does not read is dropped, both with a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import anyio

from supervisor.core.report.backlog import Backlog, Tail
from supervisor.edges.qemu.serial import Console

_READS_S = 5.0
"""So long a guest may leave what was typed unread."""
_DEAF_S = 0.05
"""The same once it has done so, until it reads again."""


class Farewell(Enum):
    """Why a viewer gets no more, as he is told."""

    CONTAINER_ENDED = "the container has ended"
    DAEMON_ENDS = "vtapd ends; the guest runs on"
    TOO_SLOW = "too slow: the guest says more than is read here"


class Viewer:
    """One of them; made by `Audience.admit`."""

    def __init__(self, who: str, *, writes: bool) -> None:
        self.who = who
        self.writes = writes
        self._backlog = Backlog()
        self._woken = anyio.Event()
        self._farewell: Farewell | None = None

    def put(self, item: bytes | str) -> None:
        """Output, or a word about it."""
        self._backlog.put(item)
        self._woken.set()

    def part(self, farewell: Farewell) -> None:
        """There will be no more."""
        self._farewell = farewell
        self._woken.set()

    async def next(self) -> bytes | str | Farewell:
        """What comes next, and in the end why nothing more does."""
        while (item := self._backlog.take()) is None:
            if self._backlog.overrun:
                return Farewell.TOO_SLOW
            if self._farewell is not None:
                return self._farewell
            self._woken = anyio.Event()
            await self._woken.wait()
        return item


class Audience:
    """Of one run of a container."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._tail = Tail()
        self._console: Console | None = None
        self._deaf = False
        self._closed: Farewell | None = None

    @property
    def said(self) -> str:
        """The end of what its guests have said while this daemon listened."""
        return self._tail.text()

    @property
    def writer(self) -> Viewer | None:
        return next((each for each in self._viewers if each.writes), None)

    @contextmanager
    def admit(self, who: str, *, writes: bool) -> Iterator[Viewer]:
        """One more, who writes where he wants to and nobody else does. `who` is what others are told of him."""
        viewer = Viewer(who, writes=writes and self.writer is None)
        if self._closed is not None:
            viewer.part(self._closed)
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    @contextmanager
    def connected(self, console: Console) -> Iterator[None]:
        """What is typed goes there, as long as the context lasts."""
        self._console, self._deaf = console, False
        try:
            yield
        finally:
            if self._console is console:
                self._console = None

    def hear(self, data: bytes) -> None:
        """A guest said this."""
        self._tail.add(data)
        for viewer in self._viewers:
            viewer.put(data)

    def note(self, word: str) -> None:
        """Something became of the guest."""
        for viewer in self._viewers:
            viewer.put(word)

    def close(self, farewell: Farewell) -> None:
        """Part with all there are, and whoever still comes. The first word holds."""
        self._closed = self._closed or farewell
        for viewer in self._viewers:
            viewer.part(self._closed)

    async def type(self, viewer: Viewer, data: bytes) -> None:
        """What a viewer typed, if it is he who writes."""
        if not viewer.writes:
            return
        if self._console is None:
            viewer.put("what you typed is lost: no guest runs")
            return
        with anyio.move_on_after(_DEAF_S if self._deaf else _READS_S) as late:
            await self._console.type(data)
        if late.cancelled_caught and not self._deaf:
            viewer.put("what you type is lost from here on: the guest does not read its console")
        self._deaf = late.cancelled_caught
