"""Control one container's guest: start, adopt and stop it, and record how it exited.

What must survive the daemon is written through the owner of the container's record. The descriptors of the guest's taps
stay open until its guest is done for good, since a guest that starts again needs them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.abc
import structlog

from supervisor.container_log.files import write_line
from supervisor.core.attach.actions import StartGuest, Uplink
from supervisor.core.container import Container, ContainerHandles, Incarnation, short_id
from supervisor.core.guest.qemu_argv import Card, guest_name, slots_of
from supervisor.core.guest.restart import (
    Evidence,
    after_end,
    after_failed_start,
    after_start,
    classify,
    describe_end,
    is_crash,
    line_of_end,
)
from supervisor.core.record import GuestRecord, ProcessRecord
from supervisor.edges.clock import boottime_s, utc_of
from supervisor.edges.kernel import process
from supervisor.edges.qemu import serial
from supervisor.errors import Permanent, Step, Transient, VtapdError
from supervisor.guest.console_feed import ConsoleFeed
from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.guest.console_log import ConsoleLog
from supervisor.guest.container_input import ContainerInput
from supervisor.guest.context import GuestContext
from supervisor.guest.docker_log import read_past_output
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.health import Health
from supervisor.guest.launcher import Launch, launch
from supervisor.guest.missed_exit import gather_missed
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.qmp_monitor import QmpMonitor
from supervisor.guest.record_owner import RecordOwner
from supervisor.guest.session import GuestSession
from supervisor.guest.share_servers import find_servers
from supervisor.guest.tap_queues import TapQueues
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
            evidence, ended_at_s = await gather_missed(
                self._context, container.id, handles, plan, recorded, self._paths, asked=asked
            )
            if ended_at_s is None:
                # When it exited is unknown, so it does not count as healthy for a time.
                ended_at_s = boottime_s()
                recorded = replace(recorded, spawned_at_s=ended_at_s)
            self._record_exit(replace(guest, process=recorded), evidence, ended_at_s)
            return
        log.info("guest_adopted", pid=found.pid)
        servers = find_servers(container.id, recorded)
        qemu = RunningQemu(found, recorded, serial.connect(self._paths.console), servers=servers)
        past = partial(read_past_output, self._context.docker, container.id, recorded)
        self._follow(container, handles, qemu, past)
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
        queues = self.plan.kind.queues(self.plan.spec.cpus)
        cards = tuple(self._card(handles, uplink, queues) for uplink in step.uplinks)
        qemu = await launch(self._context, Launch(container, handles, self.plan, step, cards, self._paths, resolver))
        self._start_counted = False
        self.takes_cards = True
        self._follow(container, handles, qemu)
        started = after_start(self.record, qemu.record)
        self.console_hub.announce("the guest starts")
        log.info("guest_started", pid=qemu.process.pid, kind=self.plan.kind.name, restarts=started.restarts)
        for note in qemu.record.notes:
            log.info("guest_note", note=note)
        self._write(started)

    def _card(self, handles: ContainerHandles, uplink: Uplink, queues: int) -> Card:
        try:
            return self._taps.card(handles.nodes, uplink, queues)
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
        self._record_exit(guest, session.evidence, session.ended_at_s)

    def postpone(self) -> None:
        """Record that no QEMU could be started, and when that is tried again."""
        curve, chance = self._context.config.curve, self._context.chance()
        self._write(after_failed_start(self.record, curve, boottime_s(), chance))

    def fail(self, error: Permanent) -> None:
        """Record that the guest cannot be started until an operator acts."""
        log.error("guest_failed", step=error.step, error=str(error))
        self._write(replace(self.record, process=None, done="failed", failure=str(error)))

    def close(self, reason: CloseReason) -> None:
        """Close the taps' descriptors and disconnect all who watch the console."""
        self._taps.close()
        self.console_hub.close(reason)

    def _record_exit(self, guest: GuestRecord, evidence: Evidence, ended_at_s: float) -> None:
        assert self.plan is not None
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
        self._write(replace(ended, terminal=""))
        self._paths.exit.unlink(missing_ok=True)

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
        return Health(
            handles, record.whereabouts, spec.ready, spec.alive, patience_s, adopted=self._start_counted
        )  # fmt: skip

    def _follow(
        self,
        container: Container,
        handles: ContainerHandles,
        qemu: RunningQemu,
        read_past_output: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        assert self.plan is not None
        self._context.uids.note_running(qemu.process.pid)
        kind, hang_after_s = self.plan.kind, self._context.config.guest.hang_after
        health = self._health(qemu.record, handles)
        monitor = QmpMonitor(short_id(container.id), self._paths.qmp, handles.cgroup, hang_after_s)
        console_log = ConsoleLog(qemu.process.pid, hang_after_s, self._note_dropped, heard=qemu.console is not None)
        self._input.make_raw(self.record.terminal)
        container_input = self._input if container.has_vtapd_init else None
        console = ConsoleFeed(
            qemu, kind.console, self.console_hub, console_log, health, container_input, read_past_output
        )
        report_of = self._context.reaper.report_of
        read_report = partial(report_of, qemu.process, self._paths.exit)
        self.session = GuestSession(handles, kind, qemu, monitor, console, health, read_report, report_of, self._mark)
        self._tasks.start_soon(self.session.run)
