"""Move a guest from the QEMU that runs it to another one that waits, which has the same memory by the same file.

Nothing is copied: the first QEMU writes into the file, the second one has a copy of each page that it changes. What the
first one leaves in the file and in the state are the guest's snapshot.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import anyio

from supervisor.core.guest.snapshot import STATE
from supervisor.edges.qemu import migration
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.session import GuestSession
from supervisor.guest.tap_queues import TapQueues

_FROZEN_S = 3.0
"""How long a guest may be paused. Usually it is some 20 ms."""
_LEAST_MIB_S = 100.0
"""How much memory is copied in a second, at the least."""
_UNDO_S = 10.0
_LOADED_S = 10.0


async def hand_over(source: GuestSession, target: GuestSession, taps: TapQueues, folder: BootFolder) -> None:
    """Move the guest, with all packets that wait for it, to a QEMU with the same memory file. Both are prepared.

    The source is left paused, and must be killed. If anything fails, the target is killed, and the guest runs on in the
    source. Raises Transient or Permanent.
    """
    await _hand_over(source, target, taps, lambda: _move(source, target, folder), _FROZEN_S)


async def stream(source: GuestSession, target: GuestSession, taps: TapQueues, memory_mib: int) -> None:
    """Move the guest to a QEMU with memory of its own. It is paused while its memory is copied. Otherwise as above."""
    frozen_s = _FROZEN_S + memory_mib / _LEAST_MIB_S
    await _hand_over(source, target, taps, lambda: _stream(source, target, frozen_s), frozen_s)


async def _hand_over(
    source: GuestSession,
    target: GuestSession,
    taps: TapQueues,
    move: Callable[[], Awaitable[None]],
    frozen_s: float,
) -> None:
    taps.swap()
    try:
        await taps.await_delivered()
        with anyio.fail_after(frozen_s):
            await migration.pause(source.execute)
            await move()
            await migration.resume(target.execute)
    except BaseException as error:
        with anyio.move_on_after(_UNDO_S, shield=True):
            await target.retire()  # before the guest may run in the source again
            taps.swap()
            with suppress(Transient):
                await migration.resume(source.execute)
        if target.complaint and isinstance(error, Transient | Permanent):
            raise Transient(f"{error.message}: {target.complaint}", step=error.step, remedy=error.remedy) from error
        if isinstance(error, TimeoutError):
            message = f"QEMU does not hand its guest over within {frozen_s:g} s"
            raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded?") from error
        raise


async def _move(source: GuestSession, target: GuestSession, folder: BootFolder) -> None:
    state = folder.open_new(STATE)
    try:
        await migration.save(source, state, deadline_s=_FROZEN_S)
    finally:
        os.close(state)
    await _load(target, folder)


async def _stream(source: GuestSession, target: GuestSession, deadline_s: float) -> None:
    writing, reading = socket.socketpair()
    with writing, reading:
        ended = await migration.begin_load(target, reading.fileno())
        reading.close()  # so that a target that ends is an error of the source
        await migration.save(source, writing.fileno(), deadline_s=deadline_s)
        await migration.await_loaded(target, ended, deadline_s=deadline_s)


async def load_snapshot(target: GuestSession, folder: BootFolder) -> None:
    """Load the snapshot into a QEMU that is prepared for it. Its guest is paused. Raises Transient or Permanent."""
    with _deadline("load its guest's snapshot"):
        await _load(target, folder)


async def let_run(target: GuestSession) -> None:
    """Let the guest run whose snapshot was loaded. Raises Transient."""
    with _deadline("let its guest run"):
        await migration.resume(target.execute)


@contextmanager
def _deadline(what: str) -> Iterator[None]:
    try:
        with anyio.fail_after(_LOADED_S):
            yield
    except TimeoutError as error:
        message = f"QEMU does not {what} within {_LOADED_S:g} s"
        raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded?") from error


async def _load(target: GuestSession, folder: BootFolder) -> None:
    saved = folder.open_file(STATE)
    try:
        await migration.load(target, saved, deadline_s=_LOADED_S)
    finally:
        os.close(saved)
