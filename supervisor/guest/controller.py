"""Control one container's guest: start, adopt and stop it, and record how it exited.

What must survive the daemon is written through the owner of the container's record. The descriptors of the guest's taps
stay open until its guest is done for good, since a guest that starts again needs them.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import anyio
import anyio.abc
import structlog

from supervisor.core.attach.actions import Uplink
from supervisor.core.container import Container, ContainerHandles, Incarnation
from supervisor.core.guest import sleep
from supervisor.core.guest.restart import (
    Evidence,
    after_failed_start,
    after_start,
)
from supervisor.core.record import GuestRecord, ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.activity import Activity
from supervisor.guest.adopter import Adopter, MissedEnd
from supervisor.guest.cards import GuestCards
from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.guest.context import GuestContext
from supervisor.guest.exit_recorder import ExitRecorder
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.launch_request import Launch, StartRequest
from supervisor.guest.qemu_process import SocketPaths
from supervisor.guest.record_owner import RecordOwner
from supervisor.guest.refresh import Refreshes, RefreshOrder
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.session_starter import SessionStarter
from supervisor.guest.sleeper import Sleeper
from supervisor.guest.snapshots import Snapshots
from supervisor.guest.starts import Starts
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
        self._starts = Starts(context, self._record, self._starter, self._snapshots, self.sleeper)
        self._adopter = Adopter(context, paths, self._record, self._starter, self._snapshots)
        self._exits = ExitRecorder(
            context, incarnation, paths, self._record, self._starter, self._snapshots, self._taps
        )  # fmt: skip
        self._refreshes = Refreshes()

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
        self.plan = plan
        adopted = await self._adopter.adopt(container, handles, plan, stopping=stopping)
        if isinstance(adopted, MissedEnd):
            self._record_end(replace(self.record, process=adopted.process), adopted.evidence, adopted.at_s)
            return
        self.session = adopted
        self._record.write(replace(self.record, process=adopted.record))

    async def settle_handover(self, container: Container) -> None:
        """End a hand-over, a restore or a wake during which an earlier daemon was killed. Raises Transient."""
        await self._adopter.settle_handover(container)

    def record_found(self, process: ProcessRecord) -> None:
        """Record a guest that an earlier daemon started and did not live to record."""
        self._record.write(after_start(self.record, process))

    async def start(self, request: StartRequest) -> None:
        """Start QEMU. Raises Transient if another try may help, or Permanent, with which the caller calls `fail`.

        An error that concerns one of the cards has its interface: a start without it may succeed.
        """
        self._starter.note_terminal(request.container)
        self.sleeper.begin_start()
        async with self._context.wake_places if self.record.asleep is not None else nullcontext():
            session = await self._starts.go_on(self._with_cards(request))
            goes_on = session is not None
            if session is None:
                session = await self._starts.boot(self._with_cards(request))  # queues may have been swapped
            self.session, self._cards.takes_more = session, True
            if not goes_on:
                self._record_start(session)

    def _record_start(self, session: GuestSession) -> None:
        started = after_start(self.record, session.record)
        self.console_hub.announce("the guest starts")
        log.info("guest_started", pid=session.pid, kind=session.record.kind, restarts=started.restarts)
        for note in session.record.notes:
            log.info("guest_note", note=note)
        self._record.write(started)

    def _with_cards(self, request: StartRequest) -> Launch:
        """Return a start of the guest on the queues that its last QEMU had.

        They are emptied, except those of a guest that sleeps, which have what wakes it in them.
        """
        start, drained = self._launch(request), self.record.asleep is None
        cards = (
            self._cards.for_start(start.plan, start.handles, uplink, drained=drained) for uplink in start.step.uplinks
        )
        return replace(start, cards=tuple(cards))

    def _launch(self, request: StartRequest) -> Launch:
        assert self.plan is not None, "a guest is started only after its image was examined"
        return Launch(request.container, request.handles, self.plan, request.step, (), self._paths, request.resolver)

    @property
    def wants_snapshot(self) -> bool:
        """Whether the snapshot of the guest, which is ready, is to be taken, or a QEMU is to wait to restore it."""
        return self.is_ready and self._snapshots.wants(self.plan, self.session)

    async def keep_snapshot(self, request: StartRequest) -> None:
        """Take the snapshot, or have a QEMU wait to restore it. If that fails, the guest runs on as it is."""
        assert self.session is not None, "only a guest that runs has a snapshot"
        before = self.session
        self.session = await self._snapshots.keep(self._launch(request), before)
        if self.session is not before:
            await self._snapshots.complete(before, self.session)

    def ask_refresh(self) -> RefreshOrder:
        """Have the guest moved to the QEMU that is installed now, by the next pass. Return the order."""
        return self._refreshes.ask()

    @property
    def wants_refresh(self) -> bool:
        """Whether an operator has ordered to move the guest to another QEMU."""
        return self._refreshes.is_asked and self._starts.is_counted

    async def refresh(self, request: StartRequest) -> None:
        """Move the guest to another QEMU, and note in the order if it runs on as it was, and why."""
        assert self.session is not None, "only a guest that runs is moved"
        before = self.session
        try:
            self.session = await self._snapshots.refresh(self._launch(request), before)
        except (Transient, Permanent) as error:
            log.warning("guest_not_refreshed", error=str(error), pid=before.pid)
            self._refreshes.finish(error)
            return
        await self._snapshots.complete(before, self.session)
        log.info("guest_refreshed", pid=self.session.pid, before=before.pid)
        self._refreshes.finish()

    @property
    def is_ready(self) -> bool:
        """Whether the guest answers and is ready; if its labels have no readiness check, whether it runs."""
        if self.session is None or self.session.evidence is not None or self.plan is None:
            return False
        met = self._starts.is_counted if self.plan.spec.ready is None else self.session.record.ready_at_s is not None
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
        self._starts.count_running(session)
        if guest.process is not None and guest.process.ready_at_s is None and session.record.ready_at_s is not None:
            self._starts.count_ready(session.record)
            guest = replace(guest, process=session.record)
        if guest.process is not None and guest.process.notes != session.record.notes:
            guest = replace(guest, process=replace(guest.process, notes=session.record.notes))
        if session.evidence is None or session.ended_at_s is None:
            self._record.write(guest)
            return
        self.session = None
        self._record_end(guest, session.evidence, session.ended_at_s)

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
