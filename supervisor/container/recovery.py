"""Going on from what earlier daemons left: records that are lost, and guests that never reached a record.

A daemon that is killed leaves at most one step that its record does not tell of. For the kernel's part the plan sees
that by itself. A QEMU that was only just started is found by the name on its command line, once, when the next daemon
starts. Anybody can take that name; but only a process of the container itself is believed, which harms nobody else.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import anyio
import structlog

from supervisor.container.attachment import Attachment
from supervisor.container.record import Ledger
from supervisor.core.attach.rebuild import rebuild
from supervisor.core.guest.qemu_argv import NAME_PREFIX, accelerator_of, guest_name, slots_of
from supervisor.core.model import Container, ContainerId, Incarnation, Pid, ProcessRecord, Record, short_id
from supervisor.edges import threads
from supervisor.edges.kernel import cgroups, process
from supervisor.errors import ContainerGone, Step, Transient
from supervisor.guest.controller import GuestController

_ENDS_S = 5.0
_RECOVERY_S = 10.0
"""So long after the daemon's start taps wait for containers that run without a record."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Leftovers:
    """What stood on this machine when the daemon started."""

    def __init__(self) -> None:
        self._began = process.start_ticks(Pid(os.getpid()))
        self._named = process.find_named(NAME_PREFIX)
        self._unrecovered: set[ContainerId] = set()
        self._until_s = 0.0
        """So long they are waited for, on the loop's clock."""
        self._recovered = anyio.Event()

    def expect(self, unrecorded: Iterable[ContainerId]) -> None:
        """These run without a record. What an earlier daemon opened for them is unknown until each is recovered."""
        self._unrecovered = set(unrecorded)
        self._until_s = anyio.current_time() + _RECOVERY_S

    def note_recovered(self, container_id: ContainerId) -> None:
        """This container can open no device any more that is not on its record."""
        self._unrecovered.discard(container_id)
        if not self._unrecovered:
            self._recovered.set()

    async def wait_recovered(self) -> None:
        """Before a tap is made: return when all are recovered, or have had their time. Mostly at once."""
        if not self._unrecovered:
            return
        with anyio.CancelScope(deadline=self._until_s):
            await self._recovered.wait()
        if self._unrecovered:
            log.warning("recovery_not_awaited", containers=sorted(map(short_id, self._unrecovered)))
            self._unrecovered.clear()
            self._recovered.set()

    def may_concern(self, incarnation: Incarnation) -> bool:
        """Whether another daemon can have known this run of a container; what began later is on record here."""
        return incarnation.start_ticks <= self._began

    def guests(self) -> list[Pid]:
        """Every process that may be a guest's QEMU."""
        return [pid for pids in self._named.values() for pid in pids]

    def guests_of(self, container_id: ContainerId, init: Pid) -> list[Pid]:
        """Return the QEMUs of this container, oldest first."""
        named = self._named.get(guest_name(container_id), [])
        return [pid for pid in named if process.shares_pid_namespace(pid, init)]

    def forget(self, container_id: ContainerId) -> None:
        """This container is recovered: what is found of it from now on was made by this daemon."""
        self._named.pop(guest_name(container_id), None)
        self.note_recovered(container_id)


def recover_record(container: Container, incarnation: Incarnation, attachment: Attachment, ledger: Ledger) -> None:
    """Where there is no record of this run, write what it must have said."""
    if ledger.of(incarnation) is not None:
        return
    seen = attachment.observe(short_id(container.id), None, with_routes=False)
    claimed = ledger.claimed(each.tap.device for each in seen.interfaces if each.tap)
    record = rebuild(container, incarnation, replace(seen, claimed=claimed))
    if record is not None:
        log.warning("record_rebuilt", taps=[entry.tap for entry in record.taps])
        ledger.write(record)


async def recover_guest(
    container: Container, record: Record | None, attachment: Attachment, controller: GuestController, found: list[Pid]
) -> None:
    """Put on record a guest that runs without one; end what is more than one guest, or has no tap to be on."""
    known = record.guest.process if record else None
    serves = record is not None and record.taps != ()
    for pid in found:
        with contextlib.suppress(ContainerGone):
            ticks = process.start_ticks(pid)
            command = process.command_line(pid)
            stray = ProcessRecord(pid, ticks, process.started_at_s(ticks), "", command, slots_of(command))
            if known is None and serves:
                await _take_in(stray, attachment)
                known = stray
                log.warning("guest_recovered", pid=pid)
                controller.record_found(stray)
            elif known is None or known.pid != pid:
                await _end(stray, guest_name(container.id))


async def _take_in(stray: ProcessRecord, attachment: Attachment) -> None:
    """Into the container's cgroup, which it may not have reached."""
    directories = attachment.cgroup.directories_of_qemu(accelerator_of(stray.command), started=False)
    await threads.run_in_thread(partial(cgroups.join_cgroup, directories, stray.pid))


async def _end(stray: ProcessRecord, name: str) -> None:
    found = process.find(stray, name)
    if found is None:
        return
    try:
        log.warning("stray_guest_killed", pid=found.pid)
        found.kill()
        with anyio.move_on_after(_ENDS_S):
            await anyio.wait_readable(found.pidfd)
            found.reap()
            return
        raise Transient(f"a stray QEMU (pid {found.pid}) does not end though killed", step=Step.SPAWN)
    finally:
        found.close()
