"""Give one container's guest its network cards: at its start, and while it runs."""

from dataclasses import replace

import structlog

from supervisor.core.attach.actions import Uplink
from supervisor.core.container import ContainerHandles
from supervisor.core.guest.qemu_inputs import Card
from supervisor.errors import Transient, VtapdError
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.tap_queues import TapQueues

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class GuestCards:
    """The cards of the guest of one run of a container."""

    def __init__(self, taps: TapQueues, record: RunRecord) -> None:
        self._taps = taps
        self._record = record
        self.takes_more = True
        """Whether cards may be added to the guest that runs. False after it refused one."""

    def for_start(
        self, plan: GuestPlan, handles: ContainerHandles, uplink: Uplink, *, drained: bool = True
    ) -> Card:  # fmt: skip
        """Return a card for a QEMU that is started. An error that it raises has its interface.

        `drained`: its queues are empty. Those of a guest that sleeps have what wakes it in them.
        """
        try:
            return self._taps.card(handles.nodes, uplink, plan.kind.queues(plan.spec.cpus), drained=drained)
        except VtapdError as error:
            error.interface = uplink.original.name
            raise

    async def plug(self, session: GuestSession, handles: ContainerHandles, uplink: Uplink) -> None:
        """Give the guest one more card. A machine that refuses it is not asked again.

        Raises Transient or Permanent if the tap cannot be opened.
        """
        card = self._taps.card(handles.nodes, uplink)
        try:
            await session.plug(card)
        except Transient as error:
            self.takes_more = False
            log.warning("card_refused", interface=uplink.original.name, error=str(error), until="its next start")
            return
        log.info("card_plugged", interface=uplink.original.name)
        self._record.write(replace(self._record.guest, process=session.record))

    async def unplug(self, session: GuestSession, slot: int) -> None:
        """Take the card of a tap that is gone from the guest."""
        await session.unplug(slot)
        self.takes_more = True  # what had no room has some now
        self._taps.close_slot(slot)
        log.info("card_unplugged", slot=slot)
        self._record.write(replace(self._record.guest, process=session.record))
