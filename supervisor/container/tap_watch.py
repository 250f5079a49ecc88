"""Close the device of a tap as soon as the tap is gone from the container's namespace.

The kernel gives the number of a deleted macvtap to the next one on the machine, which may be another program's, such as
libvirt's. So the container must not be able to open that number any longer, not even until the next resync. The kernel
reports each link that is deleted or moved to another namespace.
"""

from collections.abc import Callable

import anyio.abc
import structlog

from supervisor.container.attachment import Attachment
from supervisor.container.context import Context
from supervisor.container.on_demand import OnDemand
from supervisor.container.record import ContainerRecord
from supervisor.container.revocation import close_lost_device
from supervisor.core.container import Incarnation
from supervisor.core.links import IfIndex
from supervisor.core.record import TapRecord
from supervisor.edges.kernel import netns, process, tap
from supervisor.edges.kernel.link_events import LinkEvents
from supervisor.errors import VtapdError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class TapWatch:
    """`keep_up` it once the container is attached; `close` it before the attachment."""

    def __init__(
        self,
        context: Context,
        record: ContainerRecord,
        incarnation: Incarnation,
        mark: Callable[[], None],
    ) -> None:
        """`mark` is called if the container needs another pass."""
        self._context = context
        self._record = record
        self._incarnation = incarnation
        self._mark = mark
        self._watch: OnDemand | None = None

    async def keep_up(self, tasks: anyio.abc.TaskGroup, attachment: Attachment) -> None:
        """Watch from now on, if there is a tap, and if it does not watch yet."""
        data = self._record.of(self._incarnation)
        watches = self._watch is not None and not self._watch.ended
        if not watches and data is not None and any(entry.device for entry in data.taps):
            try:
                self._watch = self._open(tasks, attachment)
            except (VtapdError, OSError) as error:
                log.debug("links_not_watched", error=str(error))  # the next pass tries again
                return
            await self._close_lost(attachment, None)  # what was deleted before it watched

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def _open(self, tasks: anyio.abc.TaskGroup, attachment: Attachment) -> OnDemand:
        events = LinkEvents(netns.open_netlink(self._incarnation.pid))

        async def serve() -> None:
            await self._close_lost(attachment, events.read())

        return OnDemand(tasks, (events,), serve)

    async def _close_lost(self, attachment: Attachment, gone: frozenset[IfIndex] | None) -> None:
        """Close what is gone of these links; None: any may be gone."""
        data = self._record.of(self._incarnation)
        if data is None or process.has_ended(self._incarnation):
            return
        for entry in data.taps:
            parent_gone = gone is not None and entry.parent in gone
            if self._is_lost(attachment, entry, gone):
                await self._close(entry, by_itself=not parent_gone)
            if parent_gone:
                self._mark()

    def _is_lost(self, attachment: Attachment, entry: TapRecord, gone: frozenset[IfIndex] | None) -> bool:
        if entry.device is None or entry.index is None or (gone is not None and entry.index not in gone):
            return False
        return tap.find_device(attachment.sysfs, entry.index) != entry.device

    async def _close(self, entry: TapRecord, *, by_itself: bool) -> None:
        try:
            await close_lost_device(self._context, self._record, entry, by_itself=by_itself)
        except (VtapdError, OSError) as error:
            # The next pass tries it as well, and reports it.
            log.debug("lost_tap_not_closed", tap=entry.tap, error=str(error))
            self._mark()
