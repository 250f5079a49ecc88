"""Save the state of a guest's QEMU to a file, and load it into another QEMU with the same machine.

QEMU calls both a migration (qapi/migration.json). The guest's memory is part of the state, unless both QEMUs have it in
the same file: then the state is what the devices remember, about half a megabyte.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import anyio

from supervisor.errors import Permanent, Step, Transient
from supervisor.lazy_event import LazyEvent

_FDNAME = "vtapd-state"
_BANDWIDTH_BYTES = 1 << 40
"""QEMU saves at most so many bytes in a second. Its default is 128 MiB."""
_LOOK_S = 0.05
"""How often it is looked whether QEMU still answers: one that is gone sends no event."""
_UNDO_S = 2.0
_FINISHES_S = 0.001
"""QEMU reports the end of a save a moment before it can let the guest run again, and reports no more."""
_FILES_BY_NAME = (9, 1)
"""Since this version QEMU wants files as `file:`, which it has since 8.2, and 11 refuses them as `fd:`."""
_ENDS = ("completed", "failed", "cancelled", "none")


class Execute(Protocol):
    """Run one QMP command, after the descriptors that it names were sent. Raises Transient."""

    async def __call__(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object: ...


class Migrating(Protocol):
    """A QMP connection that hears of migrations."""

    @property
    def execute(self) -> Execute:
        """How a command is run."""

    @property
    def version(self) -> tuple[int, int]:
        """QEMU's major and minor version."""

    async def add_descriptor(self, descriptor: int) -> int:
        """Send a duplicate that QEMU can open as /dev/fdset/N. Return N. Raises Transient."""

    @property
    def migration_ended(self) -> LazyEvent:
        """Set when QEMU reports the end of a migration (`is_end`). After that, there is a new one."""


def is_end(event: str, data: Mapping[str, object]) -> bool:
    """Return whether this event of QMP is the end of a migration."""
    return event == "MIGRATION" and data.get("status") in _ENDS


async def pause(execute: Execute) -> None:
    """Stop the guest's processors. Its devices take and send no more packets."""
    await execute("stop", {})


async def resume(execute: Execute) -> None:
    """Let the guest run: one that was paused, whose state was saved, or whose state was loaded."""
    finished = False
    with anyio.move_on_after(_UNDO_S):
        while True:
            try:
                await execute("cont", {})
                return
            except Transient:
                if finished:
                    raise
            _, state = await _query_status(execute)
            finished = state != "finish-migrate"  # maybe since that refusal, so it is asked once more
            if not finished:
                await anyio.sleep(_FINISHES_S)
    raise Transient(f"QEMU does not finish the save of its guest's state within {_UNDO_S:g} s", step=Step.QEMU)


async def is_running(execute: Execute) -> bool:
    """Return whether the guest runs. It does not while it is paused, or waits for a state or while one is loaded."""
    running, _ = await _query_status(execute)
    return running


async def _query_status(execute: Execute) -> tuple[bool, str]:
    """Return whether the guest runs, and the state by its name in qapi/run-state.json."""
    match await execute("query-status", {}):
        case {"running": bool(running), "status": str(state)}:
            return running, state
        case answer:
            raise Transient(f"QMP query-status: QEMU answered {answer!r}", step=Step.QMP)


async def prepare(execute: Execute, *, with_memory: bool) -> None:
    """Prepare a QEMU for `save` or `load`. Its guest may still run. Raises Transient.

    Without memory, the memory must be in a file, which the QEMU that saves maps shared.
    """
    ignores_shared = {"capability": "x-ignore-shared", "state": not with_memory}
    capabilities = [ignores_shared, {"capability": "events", "state": True}]
    await asyncio.gather(  # one wait for both answers
        execute("migrate-set-capabilities", {"capabilities": capabilities}),
        execute("migrate-set-parameters", {"max-bandwidth": _BANDWIDTH_BYTES}),
    )


async def save(qmp: Migrating, target: int, *, deadline_s: float) -> None:
    """Write the state of a guest that is paused to an open file or socket, which stays the caller's.

    Call `prepare` before. If it fails, QEMU stops writing, and the guest can be resumed as if nothing had been. Raises
    Transient if QEMU refuses it or does not finish in time.
    """
    async with _channel(qmp, target, os.O_WRONLY) as (uri, descriptors):
        ended = qmp.migration_ended
        await qmp.execute("migrate", {"uri": uri}, descriptors)
        finished = False
        try:
            await _await_migration(qmp, "save", deadline_s, ended)
            finished = True
        finally:
            if not finished:
                await _cancel(qmp)


async def load(qmp: Migrating, source: int, *, deadline_s: float) -> None:
    """Read a state into a QEMU that was started with `-incoming defer`. The guest is paused then.

    Call `prepare` before. `source` stays the caller's; it is read from its present offset. A QEMU that failed is of no
    use any more: kill it. Raises Permanent if it does not accept this state, Transient if it does not finish in time or
    has ended.
    """
    async with _channel(qmp, source, os.O_RDONLY) as (uri, descriptors):
        ended = qmp.migration_ended
        await qmp.execute("migrate-incoming", {"uri": uri}, descriptors)
        await await_loaded(qmp, ended, deadline_s=deadline_s)


async def begin_load(qmp: Migrating, source: int) -> LazyEvent:
    """Begin `load`, from a socket that another QEMU still has to write to. Return what `await_loaded` is given."""
    ended = qmp.migration_ended
    await qmp.execute("migrate-incoming", {"uri": f"fd:{_FDNAME}"}, {_FDNAME: source})
    return ended


async def await_loaded(qmp: Migrating, ended: LazyEvent, *, deadline_s: float) -> None:
    """Wait until the load that was begun is complete. Raises as `load`."""
    await _await_migration(qmp, "load", deadline_s, ended)


async def machine_type(execute: Execute) -> str:
    """Return the machine type that QEMU emulates, with its version, such as `pc-i440fx-7.2`: never an alias."""
    match await execute("qom-get", {"path": "/machine", "property": "type"}):
        case str(text):
            return text.removesuffix("-machine")
        case answer:
            raise Transient(f"QMP qom-get: QEMU answered {answer!r}", step=Step.QMP)


@asynccontextmanager
async def _channel(qmp: Migrating, descriptor: int, mode: int) -> AsyncIterator[tuple[str, Mapping[str, int]]]:
    """Yield the URI of a file or socket, and the descriptors that are sent with the command that names it."""
    if qmp.version < _FILES_BY_NAME or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield f"fd:{_FDNAME}", {_FDNAME: descriptor}
        return
    try:
        reopened = os.open(f"/proc/self/fd/{descriptor}", mode | os.O_CLOEXEC)  # QEMU compares the mode
    except OSError as error:
        raise Transient(f"cannot open the guest's state again: {error.strerror}", step=Step.QEMU) from error
    try:
        number = await qmp.add_descriptor(reopened)
    finally:
        os.close(reopened)
    try:
        yield f"file:/dev/fdset/{number},offset={os.lseek(descriptor, 0, os.SEEK_CUR)}", {}
    finally:
        with anyio.move_on_after(_UNDO_S, shield=True), suppress(Transient):
            await qmp.execute("remove-fd", {"fdset-id": number})


async def _await_migration(qmp: Migrating, what: str, deadline_s: float, ended: LazyEvent) -> None:
    with anyio.move_on_after(deadline_s):
        while True:
            await _wait(ended)
            ended = qmp.migration_ended
            match await qmp.execute("query-migrate", {}):
                case {"status": "completed"}:
                    return
                case {"status": "failed" | "cancelled", **more}:
                    raise _refused(what, str(more.get("error-desc", "it gives no reason")))
                case _:
                    continue
    message = f"QEMU does not {what} the guest's state within {deadline_s:g} s"
    raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded, or its disk full?")


async def _wait(ended: LazyEvent) -> None:
    with anyio.move_on_after(_LOOK_S):
        await ended.wait()


def _refused(what: str, why: str) -> Transient | Permanent:
    message = f"QEMU does not {what} the guest's state: {why}"
    if what == "load":
        return Permanent(message, step=Step.QEMU, remedy="start the guest without the state")
    return Transient(message, step=Step.QEMU, remedy="is there room for the state?")


async def _cancel(qmp: Migrating) -> None:
    """Have QEMU stop writing. Ignores cancellation, and a QEMU that is gone."""
    with anyio.move_on_after(_UNDO_S, shield=True), suppress(Transient):
        await qmp.execute("migrate_cancel", {})
        while True:
            ended = qmp.migration_ended
            match await qmp.execute("query-migrate", {}):
                case {"status": str(status)} if status in _ENDS:
                    return
                case _:
                    await _wait(ended)
