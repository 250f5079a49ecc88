"""Control one container's guest: start, adopt and stop it, and record how it exited.

What must survive the daemon is written through the owner of the container's record. The descriptors of the guest's taps
stay open until its guest is done for good, since a guest that starts again needs them.
"""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.container_log.files import write_line
from supervisor.core.attach.actions import StartGuest, Uplink
from supervisor.core.container import Container, ContainerHandles, Incarnation, short_id
from supervisor.core.guest import sleep
from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.guest.qemu_argv import Card, guest_name, machine_of, slots_of
from supervisor.core.guest.restart import (
    Evidence,
    after_end,
    after_failed_start,
    after_start,
    after_wake,
    classify,
    describe_end,
    is_crash,
    line_of_end,
)
from supervisor.core.record import GuestRecord, ProcessRecord, Sleep
from supervisor.core.units import MIB
from supervisor.edges.clock import boottime_s, utc_of
from supervisor.edges.kernel import process
from supervisor.edges.qemu import migration, serial
from supervisor.errors import Permanent, Step, Transient, VtapdError
from supervisor.guest.activity import Activity
from supervisor.guest.console_feed import ConsoleFeed
from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.guest.console_log import ConsoleLog
from supervisor.guest.container_input import ContainerInput
from supervisor.guest.context import GuestContext
from supervisor.guest.docker_log import read_past_output
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.health import Health
from supervisor.guest.interrupted_handover import find_files, settle_handover
from supervisor.guest.kept_state import check_same_start, load_state, save_state, stamps_of_disks
from supervisor.guest.launcher import Launch, launch
from supervisor.guest.missed_exit import gather_missed
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.qmp_monitor import QmpMonitor
from supervisor.guest.record_owner import RecordOwner
from supervisor.guest.refresh import RefreshOrder
from supervisor.guest.session import GuestSession
from supervisor.guest.share_servers import find_servers
from supervisor.guest.snapshots import Snapshots
from supervisor.guest.tap_queues import TapQueues
from supervisor.guest.waiting_qemu import WaitingQemus, as_woken, await_answering
from supervisor.text import escape_controls

_DROPPED_NOTE_S = 5.0

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
        self._tasks = tasks
        self.console_hub = ConsoleHub()
        self._input = ContainerInput(incarnation, self.console_hub)
        self._dropped_bytes = 0
        """What the log did not take in time, and is not on record yet."""
        self._dropped_noted_at_s = 0.0
        self._owner = owner
        self._incarnation = incarnation
        self._paths = paths
        self._mark = mark
        self._taps = TapQueues()
        self.activity = Activity()
        self._woken_at_s: float | None = None
        """When the guest that starts was woken; None for one that did not sleep, or once it runs."""
        self._refresh: RefreshOrder | None = None
        self._waiting = WaitingQemus(context, lambda: self.record, self._write, self._follow_waiting)
        self._snapshots = Snapshots(context, paths.name, self._taps, lambda: self.record, self._write, self._waiting)
        self.takes_cards = True
        """Whether cards may be added to the guest that runs. False after it refused one."""
        self._start_counted = True
        """Whether the start is in the metrics already; also true for a guest that was adopted."""

    @property
    def record(self) -> GuestRecord:
        """What is on record of the guest."""
        return self._owner.guest_of(self._incarnation)

    def _write(self, guest: GuestRecord) -> None:
        self._owner.note_guest(self._incarnation, guest)

    async def adopt(self, container: Container, handles: ContainerHandles, plan: GuestPlan, *, stopping: bool) -> None:
        """Follow the QEMU that an earlier daemon started. If it has exited since, record how.

        `stopping`: an operator has stopped it.
        """
        self._note_terminal(container)
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
        self._follow(container, handles, qemu, past)
        if self.session is not None and sleep.is_asleep_after_end(guest):
            self.session.note_asked("asleep")
        self._write(replace(guest, process=recorded))

    async def start(
        self, container: Container, handles: ContainerHandles, step: StartGuest, resolver: str | None
    ) -> None:
        """Start QEMU. Raises Transient if another try may help, or Permanent, with which the caller calls `fail`.

        An error that concerns one of the cards has its interface: a start without it may succeed. `resolver`: the
        address on which vtapd answers the guest's DNS queries, if it does.
        """
        assert self.plan is not None, "a guest is started only after its image was examined"
        self._note_terminal(container)
        asleep = self.record.asleep
        self._woken_at_s = asleep.woken_at_s if asleep is not None else None
        async with self._context.wake_places if asleep is not None else nullcontext():
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
        self.takes_cards = True
        self._follow(start.container, start.handles, qemu)
        started = after_start(self.record, qemu.record)
        self.console_hub.announce("the guest starts")
        log.info("guest_started", pid=qemu.process.pid, kind=plan.kind.name, restarts=started.restarts)
        for note in qemu.record.notes:
            log.info("guest_note", note=note)
        self._write(started)

    async def _go_on(self, start: Launch) -> bool:
        """Let the guest go on from a state that is kept, if there is one. Return False if it has to boot."""
        if sleep.is_kept(self.record):
            session, what = await self._woken(start), "the guest goes on"
        else:
            session, what = await self._snapshots.restored(start), "the guest is restored"
        if session is None:
            return False
        self.session, self.takes_cards, self._start_counted = session, True, True
        self.console_hub.announce(what)
        return True

    async def _woken(self, start: Launch) -> GuestSession | None:
        """Start a QEMU that takes the state of the guest. Return its session; None if it cannot take that.

        Raises as `start` does.
        """
        asleep, files = self.record.asleep, self._context.state_files
        assert asleep is not None, "only a guest that sleeps has a state that is kept"
        assert asleep.process is not None, "a guest that sleeps has slept in some QEMU"
        folder, state = self._snapshots.cold(start.plan)
        spec = replace(start.plan.spec, machine=machine_of(asleep.process.command))  # which may be older than a default
        plan = replace(start.plan, spec=spec)
        order = replace(start, plan=plan, folder=folder, state=replace(state, incoming=True))
        session = await self._waiting.start(order, partial(as_woken, before=asleep.process))
        try:
            await await_answering(session)
            disks = stamps_of_disks(start.handles, spec, boots_disk=plan.kind.machine.boots_disk)
            check_same_start(asleep, session.record, disks)
            await load_state(files, start.container.id, session.execute, asleep)
        except VtapdError as error:
            log.warning("guest_state_lost", error=str(error))
            await session.retire()
            self._write(sleep.lost(self.record, str(error)))
            files.remove(start.container.id)
            return None
        session.serve(session.record)
        self._count_wake(boottime_s())
        with suppress(Transient):  # the memory has it, and the next pass writes it
            self._write(after_wake(self.record))
        files.remove(start.container.id)
        log.info("guest_goes_on", pid=session.pid)
        return session

    async def settle_handover(self, container: Container) -> None:
        """End a hand-over, a restore or a wake during which an earlier daemon was killed. Raises Transient."""
        guest, name = self.record, guest_name(container.id)
        folder = await find_files(guest, name)
        self._snapshots.take_in(folder)
        settled = await settle_handover(guest, name, self._paths, folder)
        self._write(settled)
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
        cards = tuple(self._card(handles, uplink, drained=drained) for uplink in step.uplinks)
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
        if self._refresh is None:
            self._refresh = RefreshOrder()
        return self._refresh

    @property
    def wants_refresh(self) -> bool:
        """Whether an operator has ordered to move the guest to another QEMU."""
        return self._refresh is not None and self._start_counted

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
            self._end_refresh(error)
            return
        await self._snapshots.complete(before, self.session)
        log.info("guest_refreshed", pid=self.session.pid, before=before.pid)
        self._end_refresh()

    def _end_refresh(self, error: VtapdError | None = None) -> None:
        if self._refresh is not None:
            self._refresh.finish(error)
            self._refresh = None

    def _card(self, handles: ContainerHandles, uplink: Uplink, *, drained: bool = True) -> Card:
        assert self.plan is not None
        try:
            queues = self.plan.kind.queues(self.plan.spec.cpus)
            return self._taps.card(handles.nodes, uplink, queues, drained=drained)
        except VtapdError as error:
            error.interface = uplink.original.name
            raise

    def _note_terminal(self, container: Container) -> None:
        """Record how the container's terminal is set, before it is changed for the guest."""
        if container.has_vtapd_init and not self.record.terminal:
            self._write(replace(self.record, terminal=self._input.terminal_settings()))

    def record_found(self, process: ProcessRecord) -> None:
        """Record a guest that an earlier daemon started and did not live to record."""
        self._write(after_start(self.record, process))

    async def plug(self, handles: ContainerHandles, uplink: Uplink) -> None:
        """Give the guest one more card. A machine that refuses it is not asked again.

        Raises Transient or Permanent if the tap cannot be opened.
        """
        assert self.session is not None, "only a guest that runs can be given a card"
        card = self._taps.card(handles.nodes, uplink)
        try:
            await self.session.plug(card)
        except Transient as error:
            self.takes_cards = False
            log.warning("card_refused", interface=uplink.original.name, error=str(error), until="its next start")
            return
        log.info("card_plugged", interface=uplink.original.name)
        self._write(replace(self.record, process=self.session.record))

    async def unplug(self, slot: int) -> None:
        """Take the card of a tap that is gone from the guest."""
        assert self.session is not None, "only a guest that runs has cards"
        await self.session.unplug(slot)
        self.takes_cards = True  # what had no room has some now
        self._taps.close_slot(slot)
        log.info("card_unplugged", slot=slot)
        self._write(replace(self.record, process=self.session.record))

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
            self._write(replace(self.record, done=None, not_before_s=not_before_s))

    def order_sleep(self, mode: str, because: str) -> None:
        """Record that the guest is to fall asleep. Raises Transient if the disk refuses it."""
        self._write(sleep.falls_asleep(self.record, mode, because))

    def wake(self, because: str) -> None:
        """Record that something woke the guest, if it sleeps. Raises Transient if the disk refuses it."""
        self._write(sleep.waking(self.record, boottime_s(), because))

    async def fall_asleep(self, handles: ContainerHandles) -> None:
        """Keep what is to be kept of the guest, and end its QEMU. If its state cannot be kept, it is to go on."""
        session, asleep = self.session, self.record.asleep
        assert session is not None, "only a guest that runs falls asleep"
        assert self.plan is not None
        assert asleep is not None, "only a guest that is to sleep falls asleep"
        if not asleep.ends:
            log.info("guest_falls_asleep", mode=asleep.mode, because=asleep.because)
            try:
                await self._snapshots.end_standby()
                await self._keep(session, asleep, handles)
            except VtapdError as error:
                self.note_sleepless(str(error))
                return
        await session.stop(self.plan.spec.stop_timeout_s, "asleep", paused=asleep.mode == SUSPEND)
        self.settle()

    async def _keep(self, session: GuestSession, asleep: Sleep, handles: ContainerHandles) -> None:
        """Keep what is to be kept of the guest, and record that. Raises a VtapdError if that fails."""
        assert self.plan is not None
        if asleep.mode != SUSPEND:
            self._write(sleep.ends(self.record))
            return
        spec, container = self.plan.spec, self._owner.id
        async with self._context.sleep_places:
            size = await save_state(self._context.state_files, container, session.execute, spec.memory_mib * MIB)
        disks = stamps_of_disks(handles, spec, boots_disk=self.plan.kind.machine.boots_disk)
        self._write(sleep.ends(self.record, size, disks))

    async def resume(self) -> None:
        """Let the guest go on that was about to fall asleep. Raises Transient if it cannot be reached."""
        assert self.session is not None, "only a guest that runs goes on"
        asleep = self.record.asleep
        if asleep is not None and asleep.mode == SUSPEND:
            await migration.resume(self.session.execute)
            self._context.state_files.remove(self._owner.id)
        self._write(sleep.stays_awake(self.record))

    def note_sleepless(self, why: str) -> None:
        """Record why the guest, which runs, cannot be put to sleep. It is to go on."""
        log.warning("guest_stays_awake", error=why)
        self._write(sleep.cannot_sleep(self.record, boottime_s(), why))

    def forget_sleep(self) -> None:
        """Record that a guest that sleeps will not be woken, and remove its state."""
        self._context.state_files.remove(self._owner.id)
        self._write(sleep.forgotten(self.record))

    def queues(self, handles: ContainerHandles, uplink: Uplink) -> tuple[int, ...]:
        """Return the descriptors of a tap in which what wakes a guest waits. They stay the controller's."""
        return self._card(handles, uplink, drained=False).queues

    def settle(self) -> None:
        """Record that the guest has exited or is ready, and count its start once it runs, if that is new."""
        session = self.session
        if session is None:
            return
        guest = self._with_dropped(self.record)
        if session.running_at_s is not None and not self._start_counted:
            self._start_counted = True
            self._context.counters.guest_start_seconds.observe(session.running_at_s - session.record.spawned_at_s)
            log.info("guest_running", after_s=round(session.running_at_s - session.record.spawned_at_s, 4))
            self._count_wake(session.running_at_s)
        if guest.process is not None and guest.process.ready_at_s is None and session.record.ready_at_s is not None:
            after_s = session.record.ready_at_s - session.record.spawned_at_s
            self._context.counters.guest_ready_seconds.observe(after_s)
            log.info("guest_ready", after_s=round(after_s, 4))
            guest = replace(guest, process=session.record)
        if guest.process is not None and guest.process.notes != session.record.notes:
            guest = replace(guest, process=replace(guest.process, notes=session.record.notes))
        if session.evidence is None or session.ended_at_s is None:
            self._write(guest)
            return
        self.session = None
        self._record_end(guest, session.evidence, session.ended_at_s)

    def _count_wake(self, running_at_s: float) -> None:
        if self._woken_at_s is None:
            return
        after_s = running_at_s - self._woken_at_s
        self._woken_at_s = None
        self._context.counters.guest_wake_seconds.observe(after_s)
        log.info("guest_woken", after_s=round(after_s, 4))

    def postpone(self) -> None:
        """Record that no QEMU could be started, and when that is tried again."""
        curve, chance = self._context.config.curve, self._context.chance()
        self._write(after_failed_start(self.record, curve, boottime_s(), chance))

    def fail(self, error: Permanent) -> None:
        """Record that the guest cannot be started until an operator acts."""
        log.error("guest_failed", step=error.step, error=str(error))
        self._write(replace(sleep.forgotten(self.record), process=None, done="failed", failure=str(error)))

    def close(self, reason: CloseReason) -> None:
        """Close the taps' descriptors and the snapshot's files, and disconnect all who watch the console."""
        self._end_refresh(Transient("vtapd ends", step=Step.REFRESH))
        self._snapshots.close()
        self._taps.close()
        self.activity.close()
        self.console_hub.close(reason)

    def _record_end(self, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        """Record that the guest sleeps now, or how it exited."""
        if evidence.asked != "asleep" or not sleep.is_asleep_after_end(guest):
            self._record_exit(guest, evidence, ended_at_s)
            return
        self.console_hub.announce("the guest sleeps")
        log.info("guest_asleep")
        self._snapshots.release()
        self._write(sleep.asleep(guest, ended_at_s, utc_of(ended_at_s)))
        self._remove_report(guest)
        self._end_refresh()  # it is woken in the QEMU that is installed then

    def _record_exit(self, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        assert self.plan is not None
        self._end_refresh(Transient("its guest has ended", step=Step.REFRESH))
        exit = replace(classify(evidence, self.plan.kind), at=utc_of(ended_at_s))
        ended = after_end(
            guest, exit, self.plan.spec.restart, self._context.config.curve, ended_at_s, self._context.chance()
        )
        last = ended.exits[-1]
        (log.warning if is_crash(last) else log.info)(
            "guest_exited",
            reason=last.reason,
            code=last.code,
            detail=last.detail,
            uptime_s=last.uptime_s,
            restart_in_s=last.delay_s,
        )
        if ended.failure:
            log.error("guest_failed", step=Step.START, error=ended.failure)
        self._input.restore(ended.terminal)
        self.console_hub.announce(describe_end(last))
        if self._context.config.guest.log_end and process.is_same(self._incarnation):
            between = "" if self.console_hub.is_at_line_start else "\n"
            write_line(self._incarnation.pid, between + escape_controls(line_of_end(last)))
        if ended.done is not None:
            self._taps.close()
        if ended.snapshot is None:
            self._snapshots.release()
            ended = replace(ended, waiting=None)
        self._write(replace(ended, terminal=""))
        self._remove_report(guest)

    def _remove_report(self, ended: GuestRecord) -> None:
        self._paths.of(ended.process.sockets if ended.process else "").exit.unlink(missing_ok=True)

    @property
    def console_dropped_bytes(self) -> int:
        """What the container's log did not take in time, of all guests of this run of the container."""
        return self.record.console_dropped_bytes + self._dropped_bytes

    def _note_dropped(self, count: int) -> None:
        """Count what was dropped, and have it recorded now and then."""
        self._dropped_bytes += count
        now_s = boottime_s()
        if now_s - self._dropped_noted_at_s >= _DROPPED_NOTE_S:
            self._dropped_noted_at_s = now_s
            self._mark()

    def _with_dropped(self, guest: GuestRecord) -> GuestRecord:
        count, self._dropped_bytes = guest.console_dropped_bytes + self._dropped_bytes, 0
        return replace(guest, console_dropped_bytes=count)

    def _health(self, record: ProcessRecord, handles: ContainerHandles) -> Health | None:
        """Return the health check of this guest, or None if it asks for none."""
        assert self.plan is not None
        spec = self.plan.spec
        if spec.ready is None and spec.alive is None:
            return None
        patience_s = self._context.config.guest.hang_after - (boottime_s() - record.spawned_at_s)
        where, adopted = record.whereabouts, self._start_counted
        return Health(
            handles, where, spec.ready, spec.alive, patience_s, adopted=adopted, activity=self.activity
        )  # fmt: skip

    def _follow(
        self,
        container: Container,
        handles: ContainerHandles,
        qemu: RunningQemu,
        read_past_output: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self.session = self._session(container, handles, qemu, read_past_output)

    def _follow_waiting(self, start: Launch, qemu: RunningQemu) -> GuestSession:
        return self._session(start.container, start.handles, qemu, waits=True)

    def _session(
        self,
        container: Container,
        handles: ContainerHandles,
        qemu: RunningQemu,
        read_past_output: Callable[[], Awaitable[bytes]] | None = None,
        *,
        waits: bool = False,
    ) -> GuestSession:
        """Follow a QEMU, and return its session. `waits`: it has no guest yet."""
        assert self.plan is not None
        self._context.uids.note_running(qemu.process.pid)
        paths = self._paths.of(qemu.record.sockets)
        kind, hang_after_s = self.plan.kind, self._context.config.guest.hang_after
        health = self._health(qemu.record, handles)
        monitor = QmpMonitor(short_id(container.id), paths.qmp, handles.cgroup, hang_after_s)
        console_log = ConsoleLog(qemu.process.pid, hang_after_s, self._note_dropped, heard=qemu.console is not None)
        self._input.make_raw(self.record.terminal)
        container_input = self._input if container.has_vtapd_init else None
        console = ConsoleFeed(
            qemu, kind.console, self.console_hub, console_log, health, container_input, read_past_output
        )
        read_report = partial(self._context.reaper.report_of, qemu.process, paths.exit)
        session = GuestSession(
            handles, kind, qemu, monitor, console, health, read_report, self._mark, waits=waits
        )  # fmt: skip
        self._tasks.start_soon(session.run)
        return session
