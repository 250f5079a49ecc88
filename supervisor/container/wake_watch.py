"""Wake a guest that sleeps once a packet waits in the queue of one of its taps.

A filter in the kernel lets only those packets reach the queues that wake it (`core.devices.wake_program`). They stay
there: QEMU reads them.
"""

from collections.abc import Callable, Iterator

import anyio
import anyio.abc
import structlog

from supervisor.container.attachment import Attachment
from supervisor.core.attach.actions import Uplink
from supervisor.core.attach.state import Seen
from supervisor.core.record import Record
from supervisor.errors import VtapdError
from supervisor.guest.controller import GuestController

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class WakeWatch:
    """`keep_up` it in every pass; `close` it before the guest's controller."""

    def __init__(self, guest: GuestController, mark: Callable[[], None]) -> None:
        self._guest = guest
        self._mark = mark
        self._watched: tuple[int, ...] = ()
        """The descriptors of the queues."""
        self._scope = anyio.CancelScope()

    def keep_up(
        self, tasks: anyio.abc.TaskGroup, attachment: Attachment, record: Record | None, seen: Seen | None
    ) -> None:
        """Watch the queues of a guest that sleeps, and of no other one."""
        sleeps = record is not None and record.guest.asleep is not None and record.guest.asleep.woken_at_s is None
        if not sleeps or record is None or seen is None or self._guest.session is not None:
            self.close()
            return
        watched = tuple(self._queues(attachment, record, seen))
        if watched != self._watched:
            self.close()
            self._watched, self._scope = watched, anyio.CancelScope()
            for queue in watched:
                tasks.start_soon(self._wait, self._scope, queue)

    def close(self) -> None:
        """Watch nothing."""
        self._scope.cancel()
        self._watched = ()

    def _queues(self, attachment: Attachment, record: Record, seen: Seen) -> Iterator[int]:
        """Yield the queues that only have in them what wakes the guest."""
        for entry in record.taps:
            each = seen.of(entry.interface)
            if each is None or each.tap is None or not each.wake_filter:
                continue
            try:
                uplink = Uplink(entry.original or each.interface, each.tap, entry.slot)
                yield from self._guest.queues(attachment.handles, uplink)
            except VtapdError as error:
                log.warning("tap_not_watched", tap=each.tap.name, error=str(error))

    async def _wait(self, scope: anyio.CancelScope, queue: int) -> None:
        with scope:
            await anyio.wait_readable(queue)
            scope.cancel()  # the first one is enough
            try:
                self._guest.sleeper.wake("a packet")
            except VtapdError as error:
                log.debug("wake_not_recorded", error=str(error))  # it is in memory, and written in the next pass
            self._mark()
