"""Put one container's guest to sleep, and let it go on where it was once it is woken."""

from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from supervisor.core.container import ContainerHandles
from supervisor.core.guest import sleep
from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.guest.qemu_command import machine_of
from supervisor.core.guest.restart import after_wake
from supervisor.core.record import ProcessRecord, Sleep
from supervisor.core.units import MIB
from supervisor.edges.clock import boottime_s
from supervisor.edges.qemu import migration
from supervisor.errors import Transient, VtapdError
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.kept_state import check_same_start, load_state, save_state, stamps_of_disks
from supervisor.guest.launch_request import Launch
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.snapshots import Snapshots
from supervisor.guest.waiting_qemu import WaitingQemus, as_woken, await_prepared

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Sleeper:
    """The sleep of the guest of one run of a container."""

    def __init__(self, context: GuestContext, record: RunRecord, snapshots: Snapshots, waiting: WaitingQemus) -> None:
        self._context = context
        self._record = record
        self._snapshots = snapshots
        self._waiting = waiting
        self._woken_at_s: float | None = None
        """When the guest that starts was woken; None for one that did not sleep, or once it runs."""

    def order(self, mode: str, because: str) -> None:
        """Record that the guest is to fall asleep. Raises Transient if the disk refuses it."""
        self._record.write(sleep.falls_asleep(self._record.guest, mode, because))

    def wake(self, because: str) -> None:
        """Record that something woke the guest, if it sleeps. Raises Transient if the disk refuses it."""
        self._record.write(sleep.waking(self._record.guest, boottime_s(), because))

    async def fall_asleep(self, session: GuestSession, plan: GuestPlan, handles: ContainerHandles) -> None:
        """Keep what is to be kept of the guest, and end its QEMU. If its state cannot be kept, it is to go on."""
        asleep = self._record.guest.asleep
        assert asleep is not None, "only a guest that is to sleep falls asleep"
        if not asleep.ends:
            log.info("guest_falls_asleep", mode=asleep.mode, because=asleep.because)
            try:
                await self._snapshots.end_standby()
                await self._keep(session, asleep, plan, handles)
            except VtapdError as error:
                self.note_sleepless(str(error))
                return
        await session.stop(plan.spec.stop_timeout_s, "asleep", paused=asleep.mode == SUSPEND)

    async def _keep(self, session: GuestSession, asleep: Sleep, plan: GuestPlan, handles: ContainerHandles) -> None:
        """Keep what is to be kept of the guest, and record that. Raises a VtapdError if that fails."""
        if asleep.mode != SUSPEND:
            self._record.write(sleep.ends(self._record.guest))
            return
        files, container_id = self._context.state_files, self._record.container_id
        async with self._context.sleep_places:
            size = await save_state(files, container_id, session, plan.spec.memory_mib * MIB)
        disks = stamps_of_disks(handles, plan.spec, boots_disk=plan.kind.machine.boots_disk)
        self._record.write(sleep.ends(self._record.guest, size, disks))

    async def resume(self, session: GuestSession) -> None:
        """Let the guest go on that was about to fall asleep. Raises Transient if it cannot be reached."""
        asleep = self._record.guest.asleep
        if asleep is not None and asleep.mode == SUSPEND:
            await migration.resume(session.execute)
            self._context.state_files.remove(self._record.container_id)
        self._record.write(sleep.stays_awake(self._record.guest))

    def note_sleepless(self, why: str) -> None:
        """Record why the guest, which runs, cannot be put to sleep. It is to go on."""
        log.warning("guest_stays_awake", error=why)
        self._record.write(sleep.cannot_sleep(self._record.guest, boottime_s(), why))

    def forget(self) -> None:
        """Record that a guest that sleeps will not be woken, and remove its state."""
        self._context.state_files.remove(self._record.container_id)
        self._record.write(sleep.forgotten(self._record.guest))

    def begin_start(self) -> None:
        """Note when the guest that is about to start was woken, if it slept."""
        asleep = self._record.guest.asleep
        self._woken_at_s = asleep.woken_at_s if asleep is not None else None

    def count_wake(self, running_at_s: float) -> None:
        """Count how long the guest needed from what woke it until it ran, if that is not counted yet."""
        if self._woken_at_s is None:
            return
        after_s = running_at_s - self._woken_at_s
        self._woken_at_s = None
        self._context.counters.guest_wake_seconds.observe(after_s)
        log.info("guest_woken", after_s=round(after_s, 4))

    async def go_on(self, start: Launch) -> GuestSession | None:
        """Start a QEMU that takes the state of the guest. Return its session; None if it cannot take that.

        Raises Transient if another try may help, or Permanent.
        """
        asleep, files = self._record.guest.asleep, self._context.state_files
        assert asleep is not None, "only a guest that sleeps has a state that is kept"
        assert asleep.process is not None, "a guest that sleeps has slept in some QEMU"
        session = await self._waiting_for_state(start, asleep.process)
        try:
            await await_prepared(session, with_memory=True)
            plan = start.plan
            disks = stamps_of_disks(start.handles, plan.spec, boots_disk=plan.kind.machine.boots_disk)
            check_same_start(asleep, session.record, disks)
            await load_state(files, start.container.id, session, asleep)
        except VtapdError as error:
            log.warning("guest_state_lost", error=str(error))
            await session.retire()
            self._record.write(sleep.lost(self._record.guest, str(error)))
            files.remove(start.container.id)
            return None
        session.serve(session.record)
        self.count_wake(boottime_s())
        with suppress(Transient):  # the memory has it, and the next pass writes it
            self._record.write(after_wake(self._record.guest))
        files.remove(start.container.id)
        log.info("guest_goes_on", pid=session.pid)
        return session

    async def _waiting_for_state(self, start: Launch, before: ProcessRecord) -> GuestSession:
        """Start a QEMU with the machine of the one before, whose type may be older than the kind's default."""
        folder, state = self._snapshots.cold(start.plan)
        plan = replace(start.plan, spec=replace(start.plan.spec, machine=machine_of(before.command)))
        order = replace(start, plan=plan, folder=folder, state=replace(state, incoming=True))
        return await self._waiting.start(order, partial(as_woken, before=before))
