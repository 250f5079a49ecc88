"""Take and restore the snapshot of one container's guest, and keep a QEMU waiting for that if the labels say so.

The snapshot's files are in the working directory of the guest's QEMU. In memory it is mounted nowhere: it exists as
long as a QEMU that needs it, or this daemon, so nothing has to be removed whenever a daemon is killed. On disk it is
removed when the snapshot ends, or with the container's record.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from supervisor.config import IN_MEMORY
from supervisor.core.guest.qemu_inputs import COLD_BOOT, GuestState
from supervisor.core.guest.restart import after_hand_over, after_refresh, after_restore, with_restore
from supervisor.core.guest.snapshot import MEMORY, STATE, STATE_ROOM_BYTES, bytes_of, outdated_because
from supervisor.core.record import GuestRecord, Identity, ProcessRecord, SnapshotRecord
from supervisor.core.units import MIB
from supervisor.edges.clock import boottime_s
from supervisor.edges.qemu import migration
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.handover import hand_over, let_run, load_snapshot, stream
from supervisor.guest.launch_request import Launch
from supervisor.guest.refresh import same_machine
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.start_inputs import Outdated, identify
from supervisor.guest.tap_queues import TapQueues
from supervisor.guest.waiting_qemu import WaitingQemus, as_before, await_prepared, retired_if_it_fails

_WRITING = GuestState(MEMORY)
_WAITING = GuestState(MEMORY, shared=False, incoming=True)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Snapshots:
    """The snapshot of one run of a container. `close` it with the daemon, `discard` it with the guest."""

    def __init__(
        self, context: GuestContext, name: str, taps: TapQueues, record: RunRecord, waiting: WaitingQemus
    ) -> None:
        """`name` is that of its folder, if it is kept on disk."""
        self._context = context
        self._name = name
        self._taps = taps
        self._record = record
        self._waiting = waiting
        self._folder: BootFolder | None = None
        """The working directory of the guest's QEMU; None if no snapshot is wanted."""
        self._standby: GuestSession | None = None
        self._failed_for: GuestSession | None = None
        """The session for which it failed to take the snapshot, or to have a QEMU wait. It is not tried again."""

    def close(self) -> None:
        """Leave everything to the next daemon."""
        self._close_folder()
        self._forget_standby()

    def release(self) -> None:
        """Free what the snapshot takes. The guest's QEMU, if it runs, keeps its own part."""
        if self._standby is not None:
            self._standby.kill()
        if self._folder is not None and self._folder.path:
            BootFolder.remove(Path(self._folder.path))
        self.close()

    def _close_folder(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def take_in(self, folder: BootFolder | None) -> None:
        """Own the files that an earlier daemon made, if there are any left."""
        self._close_folder()
        self._folder = folder

    def wants(self, plan: GuestPlan | None, session: GuestSession | None) -> bool:
        """Return whether the snapshot of a guest that is ready is to be taken, or a QEMU is to wait for it."""
        if plan is None or session is None or not plan.spec.snapshot or session is self._failed_for:
            return False
        if self._folder is None or session.record.folder != self._folder.identity:
            return False
        if self._record.guest.snapshot is None:
            return not session.record.restored
        return plan.spec.standby and self._standby is None and self._context.has_room_for_standby()

    def cold(self, plan: GuestPlan) -> tuple[BootFolder | None, GuestState]:
        """Return the working directory for a QEMU that boots the guest, and where it has its memory."""
        self.close()
        if not plan.spec.snapshot:
            return None, COLD_BOOT
        room = STATE_ROOM_BYTES + 2 * plan.spec.memory_mib * MIB + self._context.config.limits.kernel
        kept = self._context.config.guest.snapshots
        self._folder = BootFolder(size_bytes=room) if kept == IN_MEMORY else BootFolder.on_disk(Path(kept) / self._name)
        return self._folder, _WRITING

    def open_waiting_queues(self, start: Launch) -> None:
        """Open the queues for a QEMU that waits before the guest runs, so that it misses no packet."""
        for uplink in start.step.uplinks:
            self._taps.waiting_card(start.handles.nodes, uplink, start.plan.kind.queues(start.plan.spec.cpus))
        self._taps.discard_waiting()

    async def keep(self, start: Launch, session: GuestSession) -> GuestSession:
        """Take the snapshot, or have a QEMU wait for it. Return the session in which the guest runs then.

        If it is another one, the caller follows that from now on, and has this `complete` the move.
        """
        snapshot = self._record.guest.snapshot
        try:
            if snapshot is None:
                return await self._take(start, session)
            self._standby = await self._wait_loaded(self._with_waiting_cards(start), snapshot)
            self._context.standbys += 1
            log.info("standby_started", pid=self._standby.pid)
        except (Transient, Permanent) as error:
            self._failed_for = session
            what = "no snapshot" if snapshot is None else "no standby"
            log.warning("snapshot_failed", error=str(error), until="the guest's next start")
            self._record.write(replace(self._record.guest, waiting=None, snapshot_note=f"It has {what}: {error}."))
        return session

    async def _take(self, start: Launch, source: GuestSession) -> GuestSession:
        folder = self._folder
        assert folder is not None, "it was asked before"
        self._adopt_queues(start, source)
        await migration.prepare(source.execute, with_memory=False)  # as much as possible before the guest is paused
        target = await self._wait(self._with_waiting_cards(start), source.record.identity, source.record)
        began_s = boottime_s()
        await hand_over(source, target, self._taps, folder)
        snapshot = SnapshotRecord(
            boottime_s(),
            source.record.identity,
            folder.identity,
            folder.path,
            folder.size_of(STATE),
            folder.size_of(MEMORY),
        )
        self._note(after_hand_over(self._record.guest, snapshot))
        log.info("snapshot_taken", size_bytes=bytes_of(snapshot), after_s=round(boottime_s() - began_s, 4))
        return target

    async def complete(self, source: GuestSession, target: GuestSession) -> None:
        """End the QEMU that the guest was in, and follow the guest in the one where it is by the record."""
        record = self._record.guest.process
        assert record is not None, "the guest is in the one that waited"
        target.go_on_from(source)
        await source.retire()
        target.serve(record)

    async def refresh(self, start: Launch, source: GuestSession) -> GuestSession:
        """Move the guest to a QEMU that is started now, with a copy of its memory. Return its session there, as `keep`.

        Its snapshot ends: it belongs to the QEMU before. Raises Transient or Permanent, and then the guest runs on.
        """
        await self.end_standby()
        self._adopt_queues(start, source)
        order = await same_machine(self._with_waiting_cards(start), source)
        try:
            await migration.prepare(source.execute, with_memory=True)
            target = await self._launch_waiting(order, source.record, with_memory=True)
            await stream(source, target, self._taps, order.plan.spec.memory_mib)
        except (Transient, Permanent):
            self._note(replace(self._record.guest, waiting=None))
            raise
        self._note(after_refresh(self._record.guest))
        self.release()
        return target

    def _adopt_queues(self, start: Launch, source: GuestSession) -> None:
        self._taps.adopt(source.process, source.record.command, {each.slot: each.tap for each in start.step.uplinks})

    def _with_waiting_cards(self, start: Launch) -> Launch:
        queues = start.plan.kind.queues(start.plan.spec.cpus)
        cards = (self._taps.waiting_card(start.handles.nodes, uplink, queues) for uplink in start.step.uplinks)
        return replace(start, cards=tuple(cards))

    async def _wait(self, start: Launch, identity: Identity, source: ProcessRecord | None = None) -> GuestSession:
        """Start a QEMU that waits for the snapshot's state. `source`: the QEMU whose guest it will get.

        Raises Transient or Permanent, and leaves no such QEMU then.
        """
        order = replace(start, state=_WAITING, folder=self._folder, identity=identity)
        return await self._launch_waiting(order, source, with_memory=False)

    async def _wait_loaded(self, start: Launch, snapshot: SnapshotRecord) -> GuestSession:
        """Start a QEMU that has the snapshot's guest, paused. Raises as `_wait`."""
        session = await self._wait(start, snapshot.identity)
        assert self._folder is not None, "it was asked before"
        async with retired_if_it_fails(session):
            await load_snapshot(session, self._folder)
        return session

    async def _launch_waiting(self, start: Launch, source: ProcessRecord | None, *, with_memory: bool) -> GuestSession:
        def describe(waiting: ProcessRecord) -> ProcessRecord:
            if source is not None:
                return as_before(waiting, source)
            if start.plan.spec.ready is not None and start.plan.spec.ready.pattern:
                return replace(waiting, ready_at_s=boottime_s())  # it has printed that line already
            return waiting

        session = await self._waiting.start(start, describe)
        await await_prepared(session, with_memory=with_memory)
        return session

    async def restored(self, start: Launch) -> GuestSession | None:
        """Restore the snapshot of a guest that crashed. Return its session; None if it has to be booted.

        `start` has the cards of a QEMU that boots.
        """
        snapshot = self._record.guest.snapshot
        if snapshot is None:
            return None
        began_s, target = boottime_s(), self._standby
        try:
            if self._folder is None or self._folder.identity != snapshot.folder:
                raise Transient("its files ended with the guest, while no daemon ran", step=Step.QEMU)
            if target is not None and not target.has_ended and self._taps.are_waiting_connected:
                if why := outdated_because(snapshot.identity, await identify(self._context, start)):
                    raise Outdated(why, step=Step.START)
                self._taps.swap()
                self._taps.discard_waiting()
            else:
                await self.end_standby()
                target = None  # the next one is retired where it is made, if that fails
                target = await self._wait_loaded(start, snapshot)
            await let_run(target)
        except (Transient, Permanent) as error:
            await self._give_up(error, target)
            return None
        self._forget_standby()
        now_s = boottime_s()
        guest = after_restore(self._record.guest, now_s)
        assert guest.process is not None, "the one that waited"
        target.serve(guest.process)
        self._context.counters.guest_restore_seconds.observe(now_s - began_s)
        log.info("guest_restored", pid=target.pid, after_s=round(now_s - began_s, 4))
        self._note(guest)
        return target

    def _note(self, guest: GuestRecord) -> None:
        """Record what has happened. If the disk refuses it, the memory has it, and the next pass writes it."""
        with suppress(Transient):
            self._record.write(guest)

    async def _give_up(self, error: Transient | Permanent, target: GuestSession | None) -> None:
        """Boot the guest after all."""
        log.warning("restore_failed", error=str(error), until="the guest is booted")
        if target is not None:
            await target.retire()
        self.release()
        guest = with_restore(self._record.guest, "outdated" if isinstance(error, Outdated) else "failed")
        self._record.write(replace(guest, snapshot=None, waiting=None, boot_note=f"Its last start booted it: {error}."))

    async def end_standby(self) -> None:
        """End the QEMU that waits to restore the guest, if one does. Raises Transient if the disk refuses that."""
        if self._standby is not None:
            await self._standby.retire()
            self._forget_standby()
        if self._record.guest.waiting is not None:
            self._record.write(replace(self._record.guest, waiting=None))

    def _forget_standby(self) -> None:
        if self._standby is not None:
            self._standby = None
            self._context.standbys -= 1
