"""Start one container's guest: boot it, or let it go on from a state that is kept; and count that it runs."""

from dataclasses import replace

import structlog

from supervisor.core.guest import sleep
from supervisor.core.record import ProcessRecord
from supervisor.guest.context import GuestContext
from supervisor.guest.launch_request import Launch
from supervisor.guest.launcher import launch
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.session_starter import SessionStarter
from supervisor.guest.sleeper import Sleeper
from supervisor.guest.snapshots import Snapshots

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Starts:
    """The starts of the guest of one run of a container."""

    def __init__(
        self, context: GuestContext, record: RunRecord, starter: SessionStarter, snapshots: Snapshots, sleeper: Sleeper
    ) -> None:
        self.is_counted = True
        """Whether the start is in the metrics already; also true for a guest that was adopted."""
        self._context = context
        self._record = record
        self._starter = starter
        self._snapshots = snapshots
        self._sleeper = sleeper

    async def go_on(self, start: Launch) -> GuestSession | None:
        """Let the guest go on from a state that is kept. Return None if it has to boot."""
        if sleep.is_kept(self._record.guest):
            session, what = await self._sleeper.go_on(start), "the guest goes on"
        else:
            session, what = await self._snapshots.restored(start), "the guest is restored"
        if session is not None:
            self.is_counted = True
            self._starter.console_hub.announce(what)
        return session

    async def boot(self, start: Launch) -> GuestSession:
        """Start a QEMU that boots the guest. Raises as `launch` does. The caller records it."""
        plan, asleep = start.plan, self._record.guest.asleep
        if plan.spec.snapshot and asleep is None:
            self._snapshots.open_waiting_queues(start)
        folder, state = self._snapshots.cold(plan)
        qemu = await launch(self._context, replace(start, folder=folder, state=state))
        if asleep is not None and asleep.lost:
            note = f"It was booted when it was woken, and did not go on where it was: {asleep.lost}"
            qemu.record = replace(qemu.record, notes=(*qemu.record.notes, note))
        self.is_counted = False
        return self._starter.follow(start.container, start.handles, plan, qemu, is_new=True)

    def count_running(self, session: GuestSession) -> None:
        """Count how long the guest took to run, once it runs, if that is not counted yet."""
        if session.running_at_s is None or self.is_counted:
            return
        self.is_counted = True
        after_s = session.running_at_s - session.record.spawned_at_s
        self._context.counters.guest_start_seconds.observe(after_s)
        log.info("guest_running", after_s=round(after_s, 4))
        self._sleeper.count_wake(session.running_at_s)

    def count_ready(self, process: ProcessRecord) -> None:
        """Count how long the guest took to be ready. It must be."""
        assert process.ready_at_s is not None, "only a guest that is ready is counted"
        after_s = process.ready_at_s - process.spawned_at_s
        self._context.counters.guest_ready_seconds.observe(after_s)
        log.info("guest_ready", after_s=round(after_s, 4))
