"""Keep a guest running whose container's log is not read: drop what the log does not take in time.

QEMU writes the console into the log itself, so that `docker logs` does not depend on this daemon, and waits if the log
is full. This looks at the log while the guest prints, and once more after that. Nothing else runs while the guest is
silent and its log is read.
"""

import math
from collections.abc import Callable
from contextlib import closing

import anyio
import structlog

from supervisor.container_log.files import find_log
from supervisor.container_log.keeper import LogKeeper
from supervisor.core.container import Pid
from supervisor.edges.clock import boottime_s

_PATIENCE_S = 1.0
"""How long a guest waits for its log."""
_PATIENCE_SHARE = 0.2
"""At most this share of the time that QEMU has for an answer: it gives none while it waits."""
_LOOK_S, _LOOK_UNREAD_S, _LOOK_UNHEARD_S = 0.1, 1.0, 1.0
_AFTER_EFFECTS_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ConsoleLog:
    """The log of one QEMU's console. `run` it in a task group."""

    def __init__(self, qemu: Pid, hang_after_s: float, on_drop: Callable[[int], None], *, heard: bool) -> None:
        """`on_drop` gets the number of bytes of each drop. `heard`: `note_printed` is called for all output."""
        self._qemu = qemu
        self._patience_s = min(_PATIENCE_S, _PATIENCE_SHARE * hang_after_s)
        self._on_drop = on_drop
        self._silence_s = math.inf if heard else _LOOK_UNHEARD_S
        self._keeper: LogKeeper | None = None
        """None until it runs, and if QEMU has no log."""
        self._printed = anyio.Event()

    @property
    def has_delayed_guest(self) -> bool:
        """Whether the guest may have failed to answer because it waited for its log."""
        full_at_s = self._keeper.full_at_s if self._keeper is not None else None
        return full_at_s is not None and boottime_s() - full_at_s < _AFTER_EFFECTS_S

    def note_printed(self, count: int) -> None:
        """The guest has printed so many bytes."""
        if self._keeper is not None:
            self._keeper.printed_bytes += count
        self._printed.set()

    async def run(self) -> None:
        """Make room in the log whenever it is full for too long. Return if QEMU has none."""
        found = find_log(self._qemu)
        if found is None:
            return
        self._keeper = LogKeeper(found, self._patience_s)
        with closing(self._keeper):
            while True:
                await self._look(self._keeper)

    async def _look(self, keeper: LogKeeper) -> None:
        """Look once, and wait until there is a reason to look again."""
        printed, self._printed = self._printed.is_set(), anyio.Event()
        was_unread, before = keeper.is_unread, keeper.dropped_bytes
        pause_s = keeper.look(boottime_s())
        if keeper.is_unread and not was_unread:
            remedy = "see which log driver or `docker attach` does not read"
            log.warning("log_not_read", until="it is read again, output is dropped", remedy=remedy)
        if keeper.read_again is not None:
            log.info("log_read_again", dropped_bytes=keeper.read_again)
        if keeper.dropped_bytes > before:
            self._on_drop(keeper.dropped_bytes - before)
        if pause_s is not None:
            await anyio.sleep(pause_s)
        elif keeper.is_impatient:
            with anyio.move_on_after(_LOOK_UNREAD_S):
                await self._printed.wait()
        elif printed:
            await anyio.sleep(_LOOK_S)
        else:
            with anyio.move_on_after(self._silence_s):
                await self._printed.wait()
