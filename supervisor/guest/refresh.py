"""Move a running guest to the QEMU that is installed now, such as after a security update. Its connections live on."""

from dataclasses import dataclass, field, replace

import anyio
import structlog

from supervisor.core.guest.qemu_command import (
    accelerator_of,
    has_memory_file,
    memory_mib_of,
    slots_of,
)
from supervisor.core.guest.qemu_inputs import GuestState
from supervisor.core.guest.snapshot import MEMORY
from supervisor.edges.qemu import migration
from supervisor.errors import Permanent, Step, VtapdError
from supervisor.guest.launch_request import Launch
from supervisor.guest.session import GuestSession

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class RefreshOrder:
    """An operator's order to move one guest, and how it ended."""

    done: anyio.Event = field(default_factory=anyio.Event)
    error: VtapdError | None = None
    """Why the guest runs on as it was; None if it was moved."""

    def finish(self, error: VtapdError | None = None) -> None:
        """Note the end. Only the first one counts."""
        if not self.done.is_set():
            self.error = error
            self.done.set()


class Refreshes:
    """The orders to move one container's guest, of which at most one is open."""

    def __init__(self) -> None:
        self._order: RefreshOrder | None = None

    @property
    def is_asked(self) -> bool:
        """Whether an order is open."""
        return self._order is not None

    def ask(self) -> RefreshOrder:
        """Return the order that is open, or a new one."""
        if self._order is None:
            self._order = RefreshOrder()
        return self._order

    def finish(self, error: VtapdError | None = None) -> None:
        """End the order that is open, if one is. `error`: why the guest runs on as it was."""
        if self._order is not None:
            self._order.finish(error)
            self._order = None


async def same_machine(start: Launch, session: GuestSession) -> Launch:
    """Return a start of a QEMU that can take over the guest of this session: with the machine that it has.

    Labels and configuration may ask for another one by now. Raises Permanent if that is not possible.
    """
    record = session.record
    if shares := start.plan.spec.shares:
        why = f"QEMU cannot save the state of its {shares[0].label}"
        raise Permanent(why, step=Step.QEMU, remedy="restart the guest")
    cards = {*slots_of(record.command)}
    if cards != {*record.slots} or cards != {uplink.slot for uplink in start.step.uplinks}:
        raise Permanent("its network cards have changed since its start", step=Step.QEMU, remedy="restart the guest")
    spec = replace(
        start.plan.spec,
        machine=await migration.machine_type(session.execute),
        memory_mib=memory_mib_of(record.command) or start.plan.spec.memory_mib,
        accel=accelerator_of(record.command),
    )
    memory_file = MEMORY if has_memory_file(record.command) else None
    return replace(start, plan=replace(start.plan, spec=spec), state=GuestState(memory_file, incoming=True))
