"""Keep a guest running whose container's log is not read: drop what the log does not take in time.

QEMU writes the console into the log itself, so that `docker logs` does not depend on this daemon, and waits if the log
is full. This looks at the log while the guest prints, and once more after that. Nothing else runs while the guest is
silent and its log is read.
"""

from collections.abc import Callable
from contextlib import closing

import anyio
import structlog

from supervisor.core.guest.log_patience import GapLine, LogPatience
from supervisor.core.model import Pid
from supervisor.edges.clock import boottime_s
from supervisor.edges.qemu import container_log
from supervisor.edges.qemu.container_log import ContainerLog

_PATIENCE_S = 1.0
"""How long a guest waits for its log."""
_PATIENCE_SHARE = 0.2
"""At most this share of the time that QEMU has for an answer: it gives none while it waits."""
_LOOK_S, _LOOK_FULL_S, _LOOK_UNREAD_S = 0.1, 0.02, 1.0
_AFTER_EFFECTS_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ConsoleLog:
    """The log of one QEMU's console. `run` it in a task group."""

    def __init__(self, qemu: Pid, hang_after_s: float, on_drop: Callable[[int], None]) -> None:
        """`on_drop` gets the number of bytes of each drop."""
        self._qemu = qemu
        self._on_drop = on_drop
        self._patience = LogPatience(min(_PATIENCE_S, _PATIENCE_SHARE * hang_after_s))
        self._gap = GapLine()
        self._printed = anyio.Event()
        self._printed_bytes = 0
        """Since the last drop."""
        self._full_at_s: float | None = None

    @property
    def has_delayed_guest(self) -> bool:
        """Whether the guest may have failed to answer because it waited for its log."""
        return self._full_at_s is not None and boottime_s() - self._full_at_s < _AFTER_EFFECTS_S

    def note_printed(self, count: int) -> None:
        """The guest has printed so many bytes."""
        self._printed_bytes += count
        self._printed.set()

    async def run(self) -> None:
        """Make room in the log whenever it is full for too long. Return if QEMU has none."""
        found = container_log.find_log(self._qemu)
        if found is None:
            return
        with closing(found):
            while True:
                await self._look(found)

    async def _look(self, found: ContainerLog) -> None:
        """Look once, and wait until it is worth another look."""
        printed, self._printed = self._printed.is_set(), anyio.Event()
        now_s = boottime_s()
        if found.has_room():
            self._note_room(found, now_s)
        else:
            self._full_at_s = now_s
            self._patience.note_full(now_s)
            if not self._patience.is_over:
                await anyio.sleep(_LOOK_FULL_S)
                return
            self._drop(found, now_s)
        if self._patience.is_over:  # each piece of output may fill it again
            with anyio.move_on_after(_LOOK_UNREAD_S):
                await self._printed.wait()
        elif printed:
            await anyio.sleep(_LOOK_S)
        else:
            await self._printed.wait()

    def _note_room(self, found: ContainerLog, now_s: float) -> None:
        self._patience.note_room(now_s)
        self._write_gap_line(found)
        if self._printed_bytes > found.capacity_bytes or found.is_empty():
            dropped = self._patience.note_read(now_s)
            if dropped is not None:
                log.info("log_read_again", dropped_bytes=dropped)

    def _drop(self, found: ContainerLog, now_s: float) -> None:
        """Drop what is unread, and leave a line in its place."""
        if not self._patience.is_unread:
            remedy = "see which log driver or `docker attach` does not read"
            log.warning("log_not_read", until="it is read again, output is dropped", remedy=remedy)
        taken = found.take()
        if taken is None:
            count = self._gap.count_discarded(self._printed_bytes, found.capacity_bytes)
        else:
            count = self._gap.count_taken(taken)
        self._printed_bytes = 0
        self._patience.note_dropped(count, now_s)
        self._on_drop(count)
        self._write_gap_line(found)

    def _write_gap_line(self, found: ContainerLog) -> None:
        if self._gap.due is not None and found.write(self._gap.due):
            self._gap.due = None
