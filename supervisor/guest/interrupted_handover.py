"""Find out in which of two QEMUs a guest is, after a daemon was killed while it moved the guest between them.

The guest is in the one that was let run last. The daemon recorded the QEMU that waits before it touched the other one.
If the guest crashed or slept, that other one has ended.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

import anyio
import structlog

from supervisor.core.guest.qemu_command import queues_of
from supervisor.core.guest.restart import after_hand_over, after_refresh, after_restore, after_wake
from supervisor.core.guest.snapshot import MEMORY, STATE
from supervisor.core.record import GuestRecord, ProcessRecord, SnapshotRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import process, tap
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu import migration
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.edges.qemu.qmp import QmpSession
from supervisor.errors import Step, Transient
from supervisor.guest.qemu_process import SocketPaths
from supervisor.linux import process_calls

_ANSWERS_S = 5.0
_ENDS_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def find_files(guest: GuestRecord, name: str) -> BootFolder | None:
    """Open the working directory of the container's QEMUs, if it still exists. The caller owns it.

    One in memory exists as long as one of them runs.
    """
    snapshot = guest.snapshot
    if snapshot is not None and snapshot.path:
        return BootFolder.find(snapshot.path, None, snapshot.folder)
    for each in (guest.process, guest.waiting):
        found = process.find(each, name) if each is not None and each.folder else None
        if each is not None and found is not None:
            found.close()
            if (folder := BootFolder.find(each.path, each.pid, each.folder)) is not None:
                return folder
    return None


async def settle_handover(guest: GuestRecord, name: str, paths: SocketPaths, folder: BootFolder | None) -> GuestRecord:
    """Return the record once one QEMU of the two is left, and its guest runs. Raises Transient if it is not known yet.

    `name` is the QEMUs' own; `paths` are any of the container's.
    """
    waiting = guest.waiting
    if waiting is None:
        return guest
    if await _end_unless_running(waiting, name, paths):
        return _with_running(guest, waiting, folder)
    if guest.process is not None:
        await _let_run(guest.process, name, paths)
    log.warning("handover_undone", pid=waiting.pid)
    return replace(guest, waiting=None)


def _with_running(guest: GuestRecord, waiting: ProcessRecord, folder: BootFolder | None) -> GuestRecord:
    log.warning("handover_completed", pid=waiting.pid)
    now_s = boottime_s()
    if guest.asleep is not None and guest.process is None:
        return after_wake(guest)
    if guest.process is None:
        return after_restore(guest, now_s)
    if not waiting.folder:
        return after_refresh(guest)
    sizes = (folder.size_of(STATE), folder.size_of(MEMORY)) if folder is not None else (0, 0)
    return after_hand_over(guest, SnapshotRecord(now_s, waiting.identity, waiting.folder, waiting.path, *sizes))


async def _end_unless_running(waiting: ProcessRecord, name: str, paths: SocketPaths) -> bool:
    """Return whether the guest runs in the QEMU that waited. If not, that QEMU has ended when this returns."""
    found = process.find(waiting, name)
    if found is None:
        return False
    try:
        async with _Qmp(paths.of(waiting.sockets)) as execute:
            if await migration.is_running(execute):
                return True
        found.kill()
        with anyio.move_on_after(_ENDS_S):
            await anyio.wait_readable(found.pidfd)
            return False
        raise Transient(f"QEMU (pid {waiting.pid}) does not end though killed", step=Step.QEMU)
    finally:
        found.close()


async def _let_run(source: ProcessRecord, name: str, paths: SocketPaths) -> None:
    """Give the guest its packets again, and let it run if it does not."""
    found = process.find(source, name)
    if found is None:
        return
    try:
        _attach_queues(found, source)
        async with _Qmp(paths.of(source.sockets)) as execute:
            if not await migration.is_running(execute):
                await migration.resume(execute)
    finally:
        found.close()


def _attach_queues(qemu: Process, record: ProcessRecord) -> None:
    for number in (number for numbers in queues_of(record.command).values() for number in numbers):
        try:
            queue = process_calls.pidfd_getfd(qemu.pidfd, number)
        except OSError:
            continue  # the card was unplugged
        tap.attach_queue(queue)
        os.close(queue)


class _Qmp:
    """A connection of its own to one QEMU, for a few commands."""

    def __init__(self, paths: SocketPaths) -> None:
        self._path = paths.qmp
        self._session = QmpSession(lambda _name, _data: None)

    async def __aenter__(self) -> "_Qmp":
        try:
            with anyio.fail_after(_ANSWERS_S):
                await self._session.connect(self._path)
        except BaseException as error:
            self._session.hang_up()
            if isinstance(error, TimeoutError):
                message = f"QEMU does not answer on {self._path} within {_ANSWERS_S:g} s"
                remedy = "if the container is paused: docker unpause"
                raise Transient(message, step=Step.QMP, remedy=remedy) from error
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._session.hang_up()

    async def __call__(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object:
        assert not descriptors, "none of these commands takes one"
        try:
            with anyio.fail_after(_ANSWERS_S):
                return await self._session.execute(command, arguments)
        except TimeoutError as error:
            raise Transient(f"QEMU does not answer {command} within {_ANSWERS_S:g} s", step=Step.QMP) from error
