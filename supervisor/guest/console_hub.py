"""Share one guest console among all who watch it with `vtapd console`; at most one of them types.

While none of them does, the container's own input may.

Viewers stay connected while guests start and exit, until the container ends. They never block the guest: a slow viewer
is disconnected and input that the guest does not read is dropped. Each viewer gets a message that says why.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

import anyio

from supervisor.core.report.backlog import Backlog, Tail
from supervisor.edges.qemu.serial import Console
from supervisor.lazy_event import LazyEvent

_INPUT_S = 5.0
"""How long a guest may take to read what was typed."""
_UNREAD_INPUT_S = 0.05
"""The same after it did not read in time, until it reads again."""


class CloseReason(Enum):
    """Why a viewer gets nothing more, in the words that the viewer sees."""

    CONTAINER_ENDED = "the container has ended"
    DAEMON_ENDS = "vtapd ends; the guest runs on"
    TOO_SLOW = "too slow: the guest says more than is read here"


class Viewer:
    """One connected viewer; `ConsoleHub.connect` makes it."""

    def __init__(self, who: str, *, writes: bool) -> None:
        self.who = who
        self.writes = writes
        self._backlog = Backlog()
        self._woken = anyio.Event()
        self._reason: CloseReason | None = None

    def put(self, item: bytes | str) -> None:
        """Queue console output (bytes) or a message about it (text)."""
        self._backlog.put(item)
        self._woken.set()

    def disconnect(self, reason: CloseReason) -> None:
        """Deliver what is queued, then the reason, then nothing more."""
        self._reason = reason
        self._woken.set()

    async def next(self) -> bytes | str | CloseReason:
        """Wait for the next output or message. A reason is the last item."""
        while (item := self._backlog.take()) is None:
            if self._backlog.overrun:
                return CloseReason.TOO_SLOW
            if self._reason is not None:
                return self._reason
            self._woken = anyio.Event()
            await self._woken.wait()
        return item


class ConsoleHub:
    """The viewers of one run of a container, and the console of the guest that runs in it now."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._tail = Tail()
        self._console: Console | None = None
        self._input_unread = False
        self._typing = anyio.Lock()
        self._writer_left = LazyEvent()
        self._closed: CloseReason | None = None
        self._keeping_awake = 0

    @property
    def recent_output(self) -> str:
        """The last output of the container's guests, as far as this daemon knows."""
        return self._tail.text()

    @property
    def is_at_line_start(self) -> bool:
        """Whether the last output ended with a line, as far as this daemon knows."""
        return self.recent_output == "" or self.recent_output.endswith("\n")

    @property
    def writer(self) -> Viewer | None:
        """The viewer whose input reaches the guest, if there is one."""
        return next((each for each in self._viewers if each.writes), None)

    @property
    def keeps_awake(self) -> bool:
        """Whether someone uses the console or the screen, so that the guest is not to fall asleep."""
        return self._keeping_awake > 0

    @contextmanager
    def keeping_awake(self) -> Iterator[None]:
        """Keep the guest awake while the context lasts."""
        self._keeping_awake += 1
        try:
            yield
        finally:
            self._keeping_awake -= 1

    @contextmanager
    def connect(self, who: str, *, writes: bool) -> Iterator[Viewer]:
        """Add a viewer while the context lasts. `who` is how messages to other viewers name it.

        With `writes` it becomes the writer, unless there is one already.
        """
        viewer = Viewer(who, writes=writes and self.writer is None)
        if self._closed is not None:
            viewer.disconnect(self._closed)
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if viewer.writes:
                self._writer_left.set()

    @contextmanager
    def typing_into(self, console: Console) -> Iterator[None]:
        """Send the writer's input to this console while the context lasts."""
        self._console, self._input_unread = console, False
        try:
            yield
        finally:
            if self._console is console:
                self._console = None

    def publish(self, output: bytes) -> None:
        """Pass a guest's output to all viewers."""
        self._tail.add(output)
        for viewer in self._viewers:
            viewer.put(output)

    def recall(self, output: bytes) -> None:
        """Note what a guest printed before this daemon read its console. Viewers do not get it."""
        self._tail.recall(output)

    def announce(self, message: str) -> None:
        """Send all viewers a message about the guest, such as how it exited."""
        for viewer in self._viewers:
            viewer.put(message)

    def close(self, reason: CloseReason) -> None:
        """Disconnect all viewers, and every viewer that connects after this."""
        self._closed = reason
        for viewer in self._viewers:
            viewer.disconnect(reason)

    async def type(self, viewer: Viewer, data: bytes) -> None:
        """Send a viewer's input to the guest, if this viewer is the writer."""
        if not viewer.writes:
            return
        console = self._console
        if console is None:
            viewer.put("what you typed is lost: no guest runs")
            return
        with anyio.move_on_after(_UNREAD_INPUT_S if self._input_unread else _INPUT_S) as late:
            async with self._typing:
                await console.type(data)
        if late.cancelled_caught and not self._input_unread:
            viewer.put("what you type is lost from here on: the guest does not read its console")
        self._input_unread = late.cancelled_caught

    async def await_no_writer(self) -> None:
        """Wait until no viewer writes."""
        while self.writer is not None:
            self._writer_left = LazyEvent()
            await self._writer_left.wait()

    async def type_next(self, read: Callable[[], bytes | None]) -> bool:
        """Type what `read` returns, once the guest has room for it, unless a viewer writes by then.

        Return False if `read` has reached its end. Nothing that was read is lost if this is cancelled.
        """
        console = self._console
        assert console is not None, "input is passed on only to a guest that runs"
        async with self._typing:
            await console.room()
            if self.writer is not None:
                return True
            data = read()
            if data:
                with anyio.CancelScope(shield=True):  # there is room for it
                    await console.type(data)
        return data != b""
