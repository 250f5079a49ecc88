"""Control one container's guest: start, adopt and stop it, and record how it exited.

What must survive the daemon is written through the owner of the container's record. The descriptors of the guest's taps
stay open until its guest is done for good, since a guest that starts again needs them.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.core.attach.actions import StartGuest, Uplink
from supervisor.core.container import Container, ContainerHandles, Incarnation
from supervisor.core.guest import sleep
from supervisor.core.guest.qemu_argv import guest_name, slots_of
from supervisor.core.guest.restart import (
    Evidence,
    after_failed_start,
    after_start,
)
from supervisor.core.record import GuestRecord, ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import process
from supervisor.edges.qemu import serial
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.activity import Activity
from supervisor.guest.cards import GuestCards
from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.guest.context import GuestContext
from supervisor.guest.docker_log import read_past_output
from supervisor.guest.exit_recorder import ExitRecorder
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.interrupted_handover import find_files, settle_handover
from supervisor.guest.launcher import Launch, launch
from supervisor.guest.missed_exit import gather_missed
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.record_owner import RecordOwner
from supervisor.guest.refresh import Refreshes, RefreshOrder
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.session_starter import SessionStarter
from supervisor.guest.share_servers import find_servers
from supervisor.guest.sleeper import Sleeper
from supervisor.guest.snapshots import Snapshots
from supervisor.guest.tap_queues import TapQueues
from supervisor.guest.waiting_qemu import WaitingQemus

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class GuestController:
    """The guest of one incarnation of a container."""

    def __init__(
        self,
        context: GuestContext,
        tasks: anyio.abc.TaskGroup,
        owner: RecordOwner,
        incarnation: Incarnation,
        paths: SocketPaths,
        mark: Callable[[], None],
    ) -> None:
        self.plan: GuestPlan | None = None
        self.session: GuestSession | None = None
        self._context = context
        self._paths = paths
        self._record = RunRecord(owner, incarnation)
        self._taps = TapQueues()
        self._cards = GuestCards(self._taps, self._record)
        self._starter = SessionStarter(context, tasks, incarnation, paths, self._record, mark)
        self._waiting = WaitingQemus(context, self._record, self._starter)
        self._snapshots = Snapshots(context, paths.name, self._taps, self._record, self._waiting)
        self.sleeper = Sleeper(context, self._record, self._snapshots, self._waiting)
        self._exits = ExitRecorder(
            context, incarnation, paths, self._record, self._starter, self._snapshots, self._taps
        )  # fmt: skip
        self._refreshes = Refreshes()
        self._start_counted = True
        """Whether the start is in the metrics already; also true for a guest that was adopted."""

    @property
    def console_hub(self) -> ConsoleHub:
        """Its console."""
        return self._starter.console_hub

    @property
    def activity(self) -> Activity:
        """Its packets."""
        return self._starter.activity

    @property
    def console_dropped_bytes(self) -> int:
        """What the container's log did not take in time, of all guests of this run of the container."""
        return self._starter.console_dropped_bytes

    @property
    def record(self) -> GuestRecord:
        """What is on record of the guest."""
        return self._record.guest

    async def adopt(self, container: Container, handles: ContainerHandles, plan: GuestPlan, *, stopping: bool) -> None:
        """Follow the QEMU that an earlier daemon started. If it has exited since, record how.

        `stopping`: an operator has stopped it.
        """
        self._starter.note_terminal(container)
        guest = self.record
        assert guest.process is not None, "only a guest on record is adopted"
        self.plan = plan
        slots = guest.process.slots or slots_of(guest.process.command)
        recorded = replace(guest.process, kind=plan.kind.name, because=plan.because, slots=slots)
        found = process.find(recorded, guest_name(container.id))
        if found is None:
            asked = "stopped" if stopping else None
            asked = "asleep" if sleep.is_asleep_after_end(guest) else asked
            evidence, ended_at_s = await gather_missed(
                self._context, container.id, handles, plan, recorded, self._paths.of(recorded.sockets), asked=asked
            )
            if ended_at_s is None:
                # When it exited is unknown, so it does not count as healthy for a time.
                ended_at_s = boottime_s()
                recorded = replace(recorded, spawned_at_s=ended_at_s)
            self._record_end(replace(guest, process=recorded), evidence, ended_at_s)
            return
        log.info("guest_adopted", pid=found.pid)
        servers = find_servers(container.id, recorded)
        console = serial.connect(self._paths.of(recorded.sockets).console)
        qemu = RunningQemu(found, recorded, console, servers=servers)
        past = partial(read_past_output, self._context.docker, container.id, recorded)
        self.session = self._starter.follow(container, handles, plan, qemu, read_past_output=past)
        if sleep.is_asleep_after_end(guest):
            self.session.note_asked("asleep")
        self._record.write(replace(guest, process=recorded))

    async def start(
        self, container: Container, handles: ContainerHandles, step: StartGuest, resolver: str | None
    ) -> None:
        """Start QEMU. Raises Transient if another try may help, or Permanent, with which the caller calls `fail`.

        An error that concerns one of the cards has its interface: a start without it may succeed. `resolver`: the
        address on which vtapd answers the guest's DNS queries, if it does.
        """
        assert self.plan is not None, "a guest is started only after its image was examined"
        self._starter.note_terminal(container)
        self.sleeper.begin_start()
        async with self._context.wake_places if self.record.asleep is not None else nullcontext():
            if not await self._go_on(self._launch(container, handles, step, resolver)):
                await self._boot(self._launch(container, handles, step, resolver))  # queues may have been swapped

    async def _boot(self, start: Launch) -> None:
        plan, asleep = start.plan, self.record.asleep
        if plan.spec.snapshot and asleep is None:
            self._snapshots.open_waiting_queues(start)
        folder, state = self._snapshots.cold(plan)
        qemu = await launch(self._context, replace(start, folder=folder, state=state))
        if asleep is not None and asleep.lost:
            note = f"It was booted when it was woken, and did not go on where it was: {asleep.lost}"
            qemu.record = replace(qemu.record, notes=(*qemu.record.notes, note))
        self._start_counted = False
        self._cards.takes_more = True
        self.session = self._starter.follow(start.container, start.handles, plan, qemu, is_new=True)
        started = after_start(self.record, qemu.record)
        self.console_hub.announce("the guest starts")
        log.info("guest_started", pid=qemu.process.pid, kind=plan.kind.name, restarts=started.restarts)
        for note in qemu.record.notes:
            log.info("guest_note", note=note)
        self._record.write(started)

    async def _go_on(self, start: Launch) -> bool:
        """Let the guest go on from a state that is kept, if there is one. Return False if it has to boot."""
        if sleep.is_kept(self.record):
            session, what = await self.sleeper.go_on(start), "the guest goes on"
        else:
            session, what = await self._snapshots.restored(start), "the guest is restored"
        if session is None:
            return False
        self.session, self._cards.takes_more, self._start_counted = session, True, True
        self.console_hub.announce(what)
        return True

    async def settle_handover(self, container: Container) -> None:
        """End a hand-over, a restore or a wake during which an earlier daemon was killed. Raises Transient."""
        guest, name = self.record, guest_name(container.id)
        folder = await find_files(guest, name)
        self._snapshots.take_in(folder)
        settled = await settle_handover(guest, name, self._paths, folder)
        self._record.write(settled)
        if guest.asleep is not None and settled.asleep is None:
            self._context.state_files.remove(container.id)

    def _launch(
        self, container: Container, handles: ContainerHandles, step: StartGuest, resolver: str | None
    ) -> Launch:
        """Return a start of the guest on the queues that its last QEMU had.

        They are emptied, except those of a guest that sleeps, which have what wakes it in them.
        """
        assert self.plan is not None
        drained = self.record.asleep is None
        cards = tuple(self._cards.for_start(self.plan, handles, uplink, drained=drained) for uplink in step.uplinks)
        return Launch(container, handles, self.plan, step, cards, self._paths, resolver)

    @property
    def wants_snapshot(self) -> bool:
        """Whether the snapshot of the guest, which is ready, is to be taken, or a QEMU is to wait to restore it."""
        return self.is_ready and self._snapshots.wants(self.plan, self.session)

    async def keep_snapshot(
        self, container: Container, handles: ContainerHandles, step: StartGuest, resolver: str | None
    ) -> None:
        """Take the snapshot, or have a QEMU wait to restore it. If that fails, the guest runs on as it is."""
        assert self.plan is not None, "a guest that runs has a plan"
        assert self.session is not None, "only a guest that runs has a snapshot"
        start = Launch(container, handles, self.plan, step, (), self._paths, resolver)
        before = self.session
        self.session = await self._snapshots.keep(start, before)
        if self.session is not before:
            await self._snapshots.complete(before, self.session)

    def ask_refresh(self) -> RefreshOrder:
        """Have the guest moved to the QEMU that is installed now, by the next pass. Return the order."""
        return self._refreshes.ask()

    @property
    def wants_refresh(self) -> bool:
        """Whether an operator has ordered to move the guest to another QEMU."""
        return self._refreshes.is_asked and self._start_counted

    async def refresh(
        self, container: Container, handles: ContainerHandles, step: StartGuest, resolver: str | None
    ) -> None:
        """Move the guest to another QEMU, and note in the order if it runs on as it was, and why."""
        assert self.plan is not None, "a guest that runs has a plan"
        assert self.session is not None, "only a guest that runs is moved"
        start = Launch(container, handles, self.plan, step, (), self._paths, resolver)
        before = self.session
        try:
            self.session = await self._snapshots.refresh(start, before)
        except (Transient, Permanent) as error:
            log.warning("guest_not_refreshed", error=str(error), pid=before.pid)
            self._refreshes.finish(error)
            return
        await self._snapshots.complete(before, self.session)
        log.info("guest_refreshed", pid=self.session.pid, before=before.pid)
        self._refreshes.finish()

    def record_found(self, process: ProcessRecord) -> None:
        """Record a guest that an earlier daemon started and did not live to record."""
        self._record.write(after_start(self.record, process))

    @property
    def is_ready(self) -> bool:
        """Whether the guest answers and is ready; if its labels have no readiness check, whether it runs."""
        if self.session is None or self.session.evidence is not None or self.plan is None:
            return False
        met = self._start_counted if self.plan.spec.ready is None else self.session.record.ready_at_s is not None
        return met and self.session.answers is True

    async def stop(self, *, again: bool = False, not_before_s: float = 0.0) -> None:
        """Stop the guest, if there is one, as an operator's stop does. With `again` it may be started after that."""
        if self.session is not None and self.plan is not None:
            await self.session.stop(self.plan.spec.stop_timeout_s)
        self.settle()
        if again:
            self._record.write(replace(self.record, done=None, not_before_s=not_before_s))

    async def fall_asleep(self, handles: ContainerHandles) -> None:
        """Keep what is to be kept of the guest, and end its QEMU. If its state cannot be kept, it is to go on."""
        assert self.session is not None, "only a guest that runs falls asleep"
        assert self.plan is not None, "a guest that runs has a plan"
        await self.sleeper.fall_asleep(self.session, self.plan, handles)
        self.settle()

    async def resume(self) -> None:
        """Let the guest go on that was about to fall asleep. Raises Transient if it cannot be reached."""
        assert self.session is not None, "only a guest that runs was about to fall asleep"
        await self.sleeper.resume(self.session)

    @property
    def takes_cards(self) -> bool:
        """Whether cards may be added to the guest that runs. False after it refused one."""
        return self._cards.takes_more

    async def plug(self, handles: ContainerHandles, uplink: Uplink) -> None:
        """Give the guest one more card. Raises Transient or Permanent if the tap cannot be opened.

        A machine that refuses the card is not asked again before the guest's next start.
        """
        assert self.session is not None, "only a guest that runs is given a card"
        await self._cards.plug(self.session, handles, uplink)

    async def unplug(self, slot: int) -> None:
        """Take the card of a tap that is gone from the guest."""
        assert self.session is not None, "only a guest that runs has cards"
        await self._cards.unplug(self.session, slot)

    def queues(self, handles: ContainerHandles, uplink: Uplink) -> tuple[int, ...]:
        """Return the descriptors of a tap in which what wakes a guest waits. They stay the controller's."""
        assert self.plan is not None, "a guest that sleeps has a plan"
        return self._cards.for_start(self.plan, handles, uplink, drained=False).queues

    def settle(self) -> None:
        """Record that the guest has exited or is ready, and count its start once it runs, if that is new."""
        session = self.session
        if session is None:
            return
        guest = self._starter.with_dropped(self.record)
        self._count_start(session)
        if guest.process is not None and guest.process.ready_at_s is None and session.record.ready_at_s is not None:
            self._count_ready(session.record)
            guest = replace(guest, process=session.record)
        if guest.process is not None and guest.process.notes != session.record.notes:
            guest = replace(guest, process=replace(guest.process, notes=session.record.notes))
        if session.evidence is None or session.ended_at_s is None:
            self._record.write(guest)
            return
        self.session = None
        self._record_end(guest, session.evidence, session.ended_at_s)

    def _count_start(self, session: GuestSession) -> None:
        if session.running_at_s is None or self._start_counted:
            return
        self._start_counted = True
        after_s = session.running_at_s - session.record.spawned_at_s
        self._context.counters.guest_start_seconds.observe(after_s)
        log.info("guest_running", after_s=round(after_s, 4))
        self.sleeper.count_wake(session.running_at_s)

    def _count_ready(self, process: ProcessRecord) -> None:
        assert process.ready_at_s is not None, "only a guest that is ready is counted"
        after_s = process.ready_at_s - process.spawned_at_s
        self._context.counters.guest_ready_seconds.observe(after_s)
        log.info("guest_ready", after_s=round(after_s, 4))

    def postpone(self) -> None:
        """Record that no QEMU could be started, and when that is tried again."""
        curve, chance = self._context.config.curve, self._context.chance()
        self._record.write(after_failed_start(self.record, curve, boottime_s(), chance))

    def fail(self, error: Permanent) -> None:
        """Record that the guest cannot be started until an operator acts."""
        log.error("guest_failed", step=error.step, error=str(error))
        self._record.write(replace(sleep.forgotten(self.record), process=None, done="failed", failure=str(error)))

    def close(self, reason: CloseReason) -> None:
        """Close the taps' descriptors and the snapshot's files, and disconnect all who watch the console."""
        self._refreshes.finish(Transient("vtapd ends", step=Step.REFRESH))
        self._snapshots.close()
        self._taps.close()
        self.activity.close()
        self.console_hub.close(reason)

    def _record_end(self, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        """Record that the guest sleeps now, or how it exited."""
        assert self.plan is not None, "a guest that ended had a plan"
        self._exits.record_end(self.plan, guest, evidence, ended_at_s)
        sleeps = self.record.asleep is not None
        # One that sleeps is woken in the QEMU that is installed then.
        self._refreshes.finish(None if sleeps else Transient("its guest has ended", step=Step.REFRESH))
