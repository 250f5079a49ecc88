"""Adopt the guest that an earlier daemon started. It keeps running, on the terms of its own start."""

from dataclasses import replace

from supervisor.container.context import Context
from supervisor.container.observer import ContainerObserver
from supervisor.core.container import Container
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.spec import UNLIMITED, AddressPlan, GuestSpec
from supervisor.core.kinds import KINDS
from supervisor.core.record import ProcessRecord, Record
from supervisor.errors import Rejected
from supervisor.guest.controller import GuestController
from supervisor.guest.guest_plan import GuestPlan, examine


async def adopt_guest(
    context: Context, observer: ContainerObserver, guest: GuestController, container: Container, record: Record | None
) -> None:
    """Adopt it, if one is on record that this daemon does not control yet."""
    running = guest.record.process
    if running is None or guest.session is not None:
        return
    handles = observer.attachment().handles
    plan = await _plan_of(context, observer, container, running, record)
    await guest.adopt(container, handles, plan, stopping=record is not None and record.held)


async def _plan_of(
    context: Context, observer: ContainerObserver, container: Container, running: ProcessRecord, record: Record | None
) -> GuestPlan:
    """Return the guest's plan. The limits of today's configuration are only for guests that start today."""
    try:
        spec = parse_labels(replace(container, memory_limit_bytes=0), UNLIMITED)
        if spec is not None and not running.kind:
            handles = observer.attachment().handles
            return await examine(context, handles, spec, container, observer.observe_originals(spec.address))
    except Rejected:
        spec = None
    kind = KINDS.get(running.kind, KINDS["raw"])
    return GuestPlan(spec or _spec_by_record(record), kind, running.because)


def _spec_by_record(record: Record | None) -> GuestSpec:
    """Describe a guest whose labels only an earlier version accepted: it keeps the addresses that it has."""
    took_over = record is not None and any(entry.original and not entry.only_mac for entry in record.taps)
    return GuestSpec(kernel="", memory_mib=0, address=AddressPlan("takeover" if took_over else "none"))
