"""Keep a guest running whose container's log is not read: drop what the log does not take in time.

QEMU writes the console into the log itself, so that `docker logs` does not depend on this daemon, and waits if the log
is full. This looks at the log while the guest prints, and once more after that. Nothing runs while the guest is silent
and its log is read.
"""

from collections.abc import Callable

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
    """The log of one QEMU's console. `run` it at the start and, while it `rests`, whenever the guest has printed."""

    def __init__(self, qemu: Pid, hang_after_s: float, on_drop: Callable[[int], None], *, heard: bool) -> None:
        """`on_drop` gets the number of bytes of each drop. `heard`: `note_printed` is called for all output."""
        self._qemu = qemu
        self._patience_s = min(_PATIENCE_S, _PATIENCE_SHARE * hang_after_s)
        self._on_drop = on_drop
        self._is_heard = heard
        self.rests = True
        """Whether it is not looked at, though there is one as far as is known."""
        self._keeper: LogKeeper | None = None
        """None until it runs, and if QEMU has no log."""
        self._is_found = False
        self._has_printed = False
        self._printed: anyio.Event | None = None
        """What waits for output, if anything does."""

    @property
    def has_delayed_guest(self) -> bool:
        """Whether the guest may have failed to answer because it waited for its log."""
        full_at_s = self._keeper.full_at_s if self._keeper is not None else None
        return full_at_s is not None and boottime_s() - full_at_s < _AFTER_EFFECTS_S

    def note_printed(self, count: int) -> None:
        """The guest has printed so many bytes."""
        if self._keeper is not None:
            self._keeper.printed_bytes += count
        self._has_printed = True
        if self._printed is not None:
            self._printed.set()

    async def run(self) -> None:
        """Make room in the log whenever it is full for too long. Return once the guest is silent and it is read."""
        if not self._is_found:
            self._is_found, found = True, find_log(self._qemu)
            self._keeper = LogKeeper(found, self._patience_s) if found is not None else None
            self.rests = found is not None
        if not self.rests or self._keeper is None:
            return
        self.rests = False
        try:
            while await self._look(self._keeper):
                pass
        finally:
            self.rests = True

    def close(self) -> None:
        """Look no more."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    async def _look(self, keeper: LogKeeper) -> bool:
        """Look once, and wait until there is a reason to look again. Return False if only output can be one."""
        printed, self._has_printed = self._has_printed, False
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
            await self._wait_printed(_LOOK_UNREAD_S)
        elif printed:
            await anyio.sleep(_LOOK_S)
        elif self._is_heard:
            return False
        else:
            await self._wait_printed(_LOOK_UNHEARD_S)
        return True

    async def _wait_printed(self, most_s: float) -> None:
        self._printed = anyio.Event()
        with anyio.move_on_after(most_s):
            await self._printed.wait()
        self._printed = None
