"""Take over what an earlier daemon left of one container's guest: the QEMU that runs, or how it exited meanwhile."""

from dataclasses import dataclass, replace
from functools import partial

import structlog

from supervisor.core.container import Container, ContainerHandles
from supervisor.core.guest import sleep
from supervisor.core.guest.qemu_command import guest_name, slots_of
from supervisor.core.guest.restart import Evidence
from supervisor.core.record import ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import process
from supervisor.edges.qemu import serial
from supervisor.guest.context import GuestContext
from supervisor.guest.docker_log import read_past_output
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.interrupted_handover import find_files, settle_handover
from supervisor.guest.missed_exit import gather_missed
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.session_starter import SessionStarter
from supervisor.guest.share_servers import find_servers
from supervisor.guest.snapshots import Snapshots

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MissedEnd:
    """The end of a QEMU that exited while no daemon followed it."""

    process: ProcessRecord
    evidence: Evidence
    at_s: float
    """When it exited, in seconds since boot."""


class Adopter:
    """What an earlier daemon left of the guest of one run of a container."""

    def __init__(
        self,
        context: GuestContext,
        paths: SocketPaths,
        record: RunRecord,
        starter: SessionStarter,
        snapshots: Snapshots,
    ) -> None:
        self._context = context
        self._paths = paths
        self._record = record
        self._starter = starter
        self._snapshots = snapshots

    async def settle_handover(self, container: Container) -> None:
        """End a hand-over, a restore or a wake during which an earlier daemon was killed. Raises Transient."""
        guest, name = self._record.guest, guest_name(container.id)
        folder = await find_files(guest, name)
        self._snapshots.take_in(folder)
        settled = await settle_handover(guest, name, self._paths, folder)
        self._record.write(settled)
        if guest.asleep is not None and settled.asleep is None:
            self._context.state_files.remove(container.id)

    async def adopt(
        self, container: Container, handles: ContainerHandles, plan: GuestPlan, *, stopping: bool
    ) -> GuestSession | MissedEnd:
        """Follow the QEMU on record. If it has exited since, return how. The caller records either.

        `stopping`: an operator has stopped it.
        """
        guest = self._record.guest
        assert guest.process is not None, "only a guest on record is adopted"
        slots = guest.process.slots or slots_of(guest.process.command)
        recorded = replace(guest.process, kind=plan.kind.name, because=plan.because, slots=slots)
        found = process.find(recorded, guest_name(container.id))
        if found is None:
            asked = "stopped" if stopping else None
            asked = "asleep" if sleep.is_asleep_after_end(guest) else asked
            return await self._missed_end(container, handles, plan, recorded, asked)
        log.info("guest_adopted", pid=found.pid)
        servers = find_servers(container.id, recorded)
        console = serial.connect(self._paths.of(recorded.sockets).console)
        qemu = RunningQemu(found, recorded, console, servers=servers)
        past = partial(read_past_output, self._context.docker, container.id, recorded, self._context.log_places)
        session = self._starter.follow(container, handles, plan, qemu, read_past_output=past)
        if sleep.is_asleep_after_end(guest):
            session.note_asked("asleep")
        return session

    async def _missed_end(
        self,
        container: Container,
        handles: ContainerHandles,
        plan: GuestPlan,
        recorded: ProcessRecord,
        asked: str | None,
    ) -> MissedEnd:
        paths = self._paths.of(recorded.sockets)
        evidence, at_s = await gather_missed(self._context, container.id, handles, plan, recorded, paths, asked=asked)
        if at_s is None:
            # When it exited is unknown, so it does not count as healthy for a time.
            at_s = boottime_s()
            recorded = replace(recorded, spawned_at_s=at_s)
        return MissedEnd(recorded, evidence, at_s)
