"""Follow QEMUs of one container's guest: each with its console, its health check and its monitor."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio.abc

from supervisor.core.container import Container, ContainerHandles, Incarnation
from supervisor.core.record import GuestRecord, ProcessRecord
from supervisor.edges.clock import boottime_s
from supervisor.guest.activity import Activity
from supervisor.guest.console_feed import ConsoleFeed
from supervisor.guest.console_hub import ConsoleHub
from supervisor.guest.console_log import ConsoleLog
from supervisor.guest.container_input import ContainerInput
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.health import Health
from supervisor.guest.qemu_process import RunningQemu, SocketPaths
from supervisor.guest.qmp_monitor import QmpMonitor
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession

_DROPPED_NOTE_S = 5.0


class SessionStarter:
    """What all QEMUs of one run of a container share."""

    def __init__(
        self,
        context: GuestContext,
        tasks: anyio.abc.TaskGroup,
        incarnation: Incarnation,
        paths: SocketPaths,
        record: RunRecord,
        mark: Callable[[], None],
    ) -> None:
        self.console_hub = ConsoleHub()
        self.activity = Activity()
        self._context = context
        self._tasks = tasks
        self._paths = paths
        self._record = record
        self._mark = mark
        self._input = ContainerInput(incarnation, self.console_hub)
        self._dropped_bytes = 0
        """What the log did not take in time, and is not on record yet."""
        self._dropped_noted_at_s = 0.0

    def follow(
        self,
        container: Container,
        handles: ContainerHandles,
        plan: GuestPlan,
        qemu: RunningQemu,
        *,
        is_new: bool = False,
        waits: bool = False,
        read_past_output: Callable[[], Awaitable[bytes]] | None = None,
    ) -> GuestSession:
        """Follow a QEMU, and return its session. `is_new`: it boots the guest. `waits`: it has no guest yet."""
        self._context.uids.note_running(qemu.process.pid)
        paths, hang_after_s = self._paths.of(qemu.record.sockets), self._context.config.guest.hang_after
        health = self._health(plan, qemu.record, handles, is_new=is_new)
        monitor = QmpMonitor(paths.qmp, handles.cgroup, hang_after_s)
        log = ConsoleLog(qemu.process.pid, hang_after_s, self._note_dropped, heard=qemu.console is not None)
        self._input.make_raw(self._record.guest.terminal)
        container_input = self._input if container.has_vtapd_init else None
        console = ConsoleFeed(
            qemu, plan.kind.console, self.console_hub, log, health, container_input, read_past_output
        )  # fmt: skip
        report_of = self._context.reaper.report_of
        read_report = partial(report_of, qemu.process, paths.exit)
        session = GuestSession(
            handles, plan.kind, qemu, monitor, console, health, read_report, report_of, self._mark, waits=waits
        )  # fmt: skip
        self._tasks.start_soon(session.run)
        return session

    def _health(
        self, plan: GuestPlan, record: ProcessRecord, handles: ContainerHandles, *, is_new: bool
    ) -> Health | None:
        """Return the health check of this guest, or None if it asks for none."""
        ready, alive = plan.spec.ready, plan.spec.alive
        if ready is None and alive is None:
            return None
        patience_s = self._context.config.guest.hang_after - (boottime_s() - record.spawned_at_s)
        return Health(
            handles,
            record.whereabouts,
            ready,
            alive,
            patience_s,
            adopted=not is_new,
            activity=self.activity,
            falls_asleep=lambda: self._record.guest.asleep is not None,
        )

    def note_terminal(self, container: Container) -> None:
        """Record how the container's terminal is set, before it is changed for the guest."""
        if container.has_vtapd_init and not self._record.guest.terminal:
            self._record.write(replace(self._record.guest, terminal=self._input.terminal_settings()))

    def restore_terminal(self, ended: GuestRecord) -> GuestRecord:
        """Set the terminal as it was before the guest. Return the record without that."""
        self._input.restore(ended.terminal)
        return replace(ended, terminal="")

    @property
    def console_dropped_bytes(self) -> int:
        """What the container's log did not take in time, of all guests of this run of the container."""
        return self._record.guest.console_dropped_bytes + self._dropped_bytes

    def with_dropped(self, guest: GuestRecord) -> GuestRecord:
        """Return the record with what was dropped since the last call."""
        count, self._dropped_bytes = guest.console_dropped_bytes + self._dropped_bytes, 0
        return replace(guest, console_dropped_bytes=count)

    def _note_dropped(self, count: int) -> None:
        """Count what was dropped, and have it recorded now and then."""
        self._dropped_bytes += count
        now_s = boottime_s()
        if now_s - self._dropped_noted_at_s >= _DROPPED_NOTE_S:
            self._dropped_noted_at_s = now_s
            self._mark()
