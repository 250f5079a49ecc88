"""Keep the state of a guest that falls asleep in a file, and give it to the QEMU in which it goes on.

QEMU is not trusted with the file: it writes into a pipe, and no more than the guest's memory can explain is copied from
there.
"""

import os
import re
import socket
from collections.abc import Sequence
from functools import partial

import anyio

from supervisor.core.container import ContainerHandles, ContainerId
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import ProcessRecord, Sleep
from supervisor.core.units import MIB
from supervisor.edges import threads
from supervisor.edges.kernel import rootfs
from supervisor.edges.qemu import migration
from supervisor.edges.qemu.migration import Migrating
from supervisor.edges.qemu.state_files import StateFiles
from supervisor.errors import Permanent, Step, Transient, VtapdError

SAVE_S, LOAD_S = 60.0, 60.0
"""How long each may take, at most."""
_DEVICES_BYTES = 64 * MIB
"""What the state of a guest's devices takes at most, beyond its memory and what is sent with each page of that."""
_PASSING = re.compile(r"(fds?=)[\d:]+|(,share=)(?:on|off)")
"""What may differ between two starts of the same machine: descriptors, and who else has its memory."""
_WAITING = ["-incoming", "defer"]
_NO_LIMIT = 1 << 62


async def save_state(files: StateFiles, container_id: ContainerId, qmp: Migrating, memory_bytes: int) -> int:
    """Pause the guest, and write its state. Return the file's size. Raises Transient; then the guest is paused."""
    await migration.resume(qmp.execute)  # a daemon that was killed may have left it paused after a save
    await migration.prepare(qmp.execute, with_memory=True)
    await migration.pause(qmp.execute)
    reader, writer = socket.socketpair()
    with reader, writer, files.writing(container_id) as target:
        reader.setblocking(False)
        copy = _Copy(files, reader, target, memory_bytes + memory_bytes // 8 + _DEVICES_BYTES)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(copy.run, tasks.cancel_scope)
            await copy.save(qmp, writer)
            tasks.cancel_scope.cancel()
        return await copy.finish()


class _Copy:
    """Copies what QEMU writes into a socket to a file."""

    def __init__(self, files: StateFiles, reader: socket.socket, target: int, most_bytes: int) -> None:
        self._files = files
        self._reader = reader
        self._target = target
        self._most_bytes = most_bytes
        self._size_bytes = 0
        self._error: VtapdError | None = None
        """Why the state is not complete. A task group would put it into an ExceptionGroup."""

    async def save(self, qmp: Migrating, writer: socket.socket) -> None:
        """Have QEMU write all of it."""
        try:
            await migration.save(qmp, writer.fileno(), deadline_s=SAVE_S)
        except VtapdError as error:
            self._error = self._error or error

    async def run(self, scope: anyio.CancelScope) -> None:
        """Copy until the scope is cancelled. Cancel it if that fails."""
        try:
            while True:
                await anyio.wait_readable(self._reader)
                with anyio.CancelScope(shield=True):
                    await self._copy()
        except VtapdError as error:
            self._error = error
            self._reader.shutdown(socket.SHUT_RDWR)  # QEMU stops to write
        scope.cancel()

    async def finish(self) -> int:
        """Copy what is left once QEMU has written all. Return the number of all bytes. Raises what failed before."""
        while self._error is None and await self._copy():
            pass
        if self._error is not None:
            raise self._error
        return self._size_bytes

    async def _copy(self) -> int:
        copied = await threads.run_in_thread(partial(self._files.copy, self._reader, self._target))
        self._size_bytes += copied
        if self._size_bytes > self._most_bytes:
            raise Transient(f"the guest's state is larger than {self._most_bytes} bytes", step=Step.SLEEP)
        return copied


async def load_state(files: StateFiles, container_id: ContainerId, qmp: Migrating, sleep: Sleep) -> None:
    """Have a QEMU that waits for it take the state, and let the guest run. Raises a VtapdError if that fails."""
    with files.reading(container_id, sleep.state_bytes) as source:
        await migration.load(qmp, source, deadline_s=LOAD_S)
    await migration.resume(qmp.execute)


def stamps_of_disks(handles: ContainerHandles, spec: GuestSpec, *, boots_disk: bool) -> tuple[str, ...]:
    """Return a stamp of each disk, which changes when something writes to it."""
    paths = [disk.path for disk in spec.disks] + [spec.kernel] * boots_disk
    stamps = []
    for path in paths:
        descriptor = rootfs.open_file(handles.root, path, "vtapd.disk", _NO_LIMIT)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        stamps.append(f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}")
    return tuple(stamps)


def check_same_start(sleep: Sleep, qemu: ProcessRecord, disks: tuple[str, ...]) -> None:
    """Raise Permanent if this QEMU cannot take the state, or a disk was written to since."""
    assert sleep.process is not None, "a guest that sleeps has slept in some QEMU"
    if sleep.process.program not in ("", qemu.program):  # not known of one that an earlier version started
        raise Permanent("another QEMU was installed since its start", step=Step.SLEEP)
    if disks != sleep.disks:
        raise Permanent("a disk of the guest was written to while it slept", step=Step.SLEEP)
    before, now = _comparable(sleep.process.command), _comparable(qemu.command)
    if before != now:
        differing = next((f"{a} instead of {b}" for a, b in zip(now, before, strict=False) if a != b), "more or less")
        raise Permanent(f"its machine would be another one now: {differing}", step=Step.SLEEP)


def _comparable(command: Sequence[str]) -> list[str]:
    words = [_PASSING.sub(r"\1\2N", word) for word in command]
    return words[: -len(_WAITING)] if words[-len(_WAITING) :] == _WAITING else words
