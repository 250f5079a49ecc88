"""Find out, from its record, how a container's last run ended while no daemon ran."""

from dataclasses import replace

from supervisor.container.context import Context
from supervisor.core.container import Container
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.restart import after_end, classify
from supervisor.core.guest.spec import UNLIMITED, GuestSpec, RestartPolicy
from supervisor.core.kinds import KINDS
from supervisor.core.record import GuestRecord, Record
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s, utc_of
from supervisor.errors import Rejected
from supervisor.guest.missed_exit import gather_after_container
from supervisor.guest.qemu_process import SocketPaths

_NO_RESTART = RestartPolicy("no")


async def unseen_end(context: Context, container: Container, record: Record) -> ContainerStatus:
    """Return the container's last status."""
    process = record.guest.process
    return ContainerStatus(
        id=container.id,
        name=container.name,
        incarnation=record.incarnation,
        attached=True,
        ignored_reason="an operator detached it" if record.detached else None,
        record=replace(record, guest=await _after_container(context, record)),
        guest=GuestStatus(
            spec=_spec_of(container),
            kind=process.kind if process else "",
            because=process.because if process else "",
        )
        if process or record.guest.exits
        else None,
    )


async def _after_container(context: Context, record: Record) -> GuestRecord:
    """Return what is on record of the guest, with its last exit."""
    guest, process = record.guest, record.guest.process
    if process is None:
        return guest
    paths = SocketPaths(context.config.run_dir, record.id, process.sockets)
    kind = KINDS.get(process.kind, KINDS["raw"])
    evidence, ended_at_s = await gather_after_container(context, record.id, kind, process, paths)
    asked = "stopped" if record.held else evidence.asked
    exit = replace(classify(replace(evidence, asked=asked), kind), at=utc_of(ended_at_s or boottime_s()))
    ended = after_end(guest, exit, _NO_RESTART, context.config.curve, ended_at_s or process.spawned_at_s, 0.0)
    if ended.done == "failed":
        return replace(ended, failure=f"its guest ended ({exit.reason}) while no daemon ran")
    return ended


def _spec_of(container: Container) -> GuestSpec:
    try:
        spec = parse_labels(replace(container, memory_limit_bytes=0), UNLIMITED)
    except Rejected:  # an earlier version may have accepted its labels
        spec = None
    return spec or GuestSpec(kernel="", memory_mib=0)
