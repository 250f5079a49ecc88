"""Recover from what earlier daemons left: lost records, and guests without a record.

A daemon that is killed leaves at most one step that is not on record. The plan finds that step by itself if it changed
the kernel. A QEMU that had just been started is found by the name on its command line, once, when the next daemon
starts. Any process can take that name, but only a process of the container itself is believed, so that a false one
harms no other container.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace

import anyio
import structlog

from supervisor.container import kernel_state
from supervisor.container.attachment import Attachment
from supervisor.container.device_access import rules_of_docker
from supervisor.container.record import ContainerRecord
from supervisor.core.attach.rebuild import rebuild
from supervisor.core.attach.scope import Scope
from supervisor.core.container import Container, ContainerId, Incarnation, Pid, short_id
from supervisor.core.guest.qemu_command import (
    NAME_PREFIX,
    accelerator_of,
    guest_name,
    slots_of,
)
from supervisor.core.record import ProcessRecord, Record
from supervisor.edges.kernel import process
from supervisor.errors import ContainerGone, Step, Transient
from supervisor.guest.controller import GuestController
from supervisor.guest.qemu_cgroup import join_cgroup

_ENDS_S = 5.0
_RECOVERY_S = 10.0
"""How long after the daemon's start new taps wait for containers that run without a record."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Leftovers:
    """What was on this machine when the daemon started."""

    def __init__(self) -> None:
        self._began = process.start_ticks(Pid(os.getpid()))
        self._named = process.find_named(NAME_PREFIX)
        self._unrecovered: set[ContainerId] = set()
        self._until_s = 0.0
        """How long they are waited for, on the loop's clock."""
        self._recovered = anyio.Event()

    def expect(self, unrecorded: Iterable[ContainerId]) -> None:
        """Note containers that run without a record. What they may open is unknown until each is recovered."""
        self._unrecovered = set(unrecorded)
        self._until_s = anyio.current_time() + _RECOVERY_S

    def note_recovered(self, container_id: ContainerId) -> None:
        """Note that this container can no longer open a device that is not on its record."""
        self._unrecovered.discard(container_id)
        if not self._unrecovered:
            self._recovered.set()

    async def wait_recovered(self) -> None:
        """Wait, before a tap is made, until all are recovered or their time is over. Mostly that is at once."""
        if not self._unrecovered:
            return
        with anyio.CancelScope(deadline=self._until_s):
            await self._recovered.wait()
        if self._unrecovered:
            log.warning("recovery_not_awaited", containers=sorted(map(short_id, self._unrecovered)))
            self._unrecovered.clear()
            self._recovered.set()

    def may_concern(self, incarnation: Incarnation) -> bool:
        """Whether an earlier daemon can have known this run of a container."""
        return incarnation.start_ticks <= self._began

    def guests(self) -> list[Pid]:
        """Return every process that may be a guest's QEMU."""
        return [pid for pids in self._named.values() for pid in pids]

    def guests_of(self, container_id: ContainerId, init: Pid) -> list[Pid]:
        """Return the QEMUs of this container, oldest first."""
        named = self._named.get(guest_name(container_id), [])
        return [pid for pid in named if process.shares_pid_namespace(pid, init)]

    def forget(self, container_id: ContainerId) -> None:
        """Note that this container is recovered: from now on this daemon alone makes its guests."""
        self._named.pop(guest_name(container_id), None)
        self.note_recovered(container_id)


def recover_record(
    container: Container, incarnation: Incarnation, attachment: Attachment, scope: Scope, record: ContainerRecord
) -> None:
    """If there is no record of this run, write what it must have contained."""
    if record.of(incarnation) is not None:
        return
    rules = attachment.rules.observe_own() - rules_of_docker(container)
    seen = kernel_state.observe_unrecorded(attachment, container, scope, rules)
    taps = (*(each.tap for each in seen.interfaces if each.tap), *(tap for _, tap in seen.strays))
    claimed = record.claimed(tap.device for tap in taps)
    rebuilt = rebuild(container, incarnation, replace(seen, claimed=claimed))
    if rebuilt is not None:
        log.warning("record_rebuilt", taps=[entry.tap for entry in rebuilt.taps])
        record.write(rebuilt)


async def recover_guest(
    container: Container, record: Record | None, attachment: Attachment, controller: GuestController, found: list[Pid]
) -> None:
    """Record a guest that runs without a record. Kill each further one, and one that has no tap."""
    known = record.guest.process if record else None
    serves = record is not None and record.taps != ()
    for pid in found:
        with contextlib.suppress(ContainerGone):
            ticks = process.start_ticks(pid)
            command = process.command_line(pid)
            stray = ProcessRecord(pid, ticks, process.started_at_s(ticks), "", command, slots_of(command))
            # One that waits for a state has no guest yet: another one is started.
            if known is None and serves and "-incoming" not in command:
                accel = accelerator_of(stray.command)
                await join_cgroup(attachment.cgroup, pid, accel, started=False)  # if it was not moved before
                known = stray
                log.warning("guest_recovered", pid=pid)
                controller.record_found(stray)
            elif known is None or known.pid != pid:
                await _end(stray, guest_name(container.id))


async def _end(stray: ProcessRecord, name: str) -> None:
    found = process.find(stray, name)
    if found is None:
        return
    try:
        log.warning("stray_guest_killed", pid=found.pid)
        found.kill()
        with anyio.move_on_after(_ENDS_S):
            await anyio.wait_readable(found.pidfd)
            return
        raise Transient(f"a stray QEMU (pid {found.pid}) does not end though killed", step=Step.SPAWN)
    finally:
        found.close()
