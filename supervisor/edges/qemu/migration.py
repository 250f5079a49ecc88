"""Save the state of a guest's QEMU to a file, and load it into another QEMU with the same machine.

QEMU calls both a migration (qapi/migration.json). The guest's memory is part of the state, unless both QEMUs have it in
the same file: then the state is what the devices remember, about half a megabyte.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import anyio

from supervisor.errors import Permanent, Step, Transient

_FDNAME = "vtapd-state"
_BANDWIDTH_BYTES = 1 << 40
"""QEMU saves at most so many bytes in a second. Its default is 128 MiB."""
_POLL_S = 0.001
_SLOWEST_POLL_S = 0.05
_UNDO_S = 2.0


class Execute(Protocol):
    """Run one QMP command, after the descriptors that it names were sent. Raises Transient."""

    async def __call__(
        self, command: str, arguments: Mapping[str, object], descriptors: Mapping[str, int] | None = None
    ) -> object: ...


async def pause(execute: Execute) -> None:
    """Stop the guest's processors. Its devices take and send no more packets."""
    await execute("stop", {})


async def resume(execute: Execute) -> None:
    """Let the guest run: one that was paused, whose state was saved, or whose state was loaded."""
    await execute("cont", {})


async def is_running(execute: Execute) -> bool:
    """Return whether the guest runs. It does not while it is paused, or waits for a state or while one is loaded."""
    match await execute("query-status", {}):
        case {"running": bool(running)}:
            return running
        case answer:
            raise Transient(f"QMP query-status: QEMU answered {answer!r}", step=Step.QMP)


async def save(execute: Execute, target: int, *, with_memory: bool, deadline_s: float) -> None:
    """Write the state of a guest that is paused to an open file or socket, which stays the caller's.

    Without memory, the memory must be in a file that is mapped shared. If it fails, QEMU stops writing, and the guest
    can be resumed as if nothing had been. Raises Transient if QEMU refuses it or does not finish in time.
    """
    await _prepare(execute, with_memory=with_memory)
    await execute("migrate", {"uri": f"fd:{_FDNAME}"}, {_FDNAME: target})
    finished = False
    try:
        await _await_migration(execute, "save", deadline_s)
        finished = True
    finally:
        if not finished:
            await _cancel(execute)


async def load(execute: Execute, source: int, *, with_memory: bool, deadline_s: float) -> None:
    """Read a state into a QEMU that was started with `-incoming defer`. The guest is paused then.

    `source` stays the caller's; it is read from its present offset. A QEMU that failed is of no use any more: kill it.
    Raises Permanent if it does not accept this state, Transient if it does not finish in time or has ended.
    """
    await begin_load(execute, source, with_memory=with_memory)
    await await_loaded(execute, deadline_s=deadline_s)


async def begin_load(execute: Execute, source: int, *, with_memory: bool) -> None:
    """Begin `load`, for a source that another QEMU still has to write to."""
    await _prepare(execute, with_memory=with_memory)
    await execute("migrate-incoming", {"uri": f"fd:{_FDNAME}"}, {_FDNAME: source})


async def await_loaded(execute: Execute, *, deadline_s: float) -> None:
    """Wait until the load that was begun is complete. Raises as `load`."""
    await _await_migration(execute, "load", deadline_s)


async def machine_type(execute: Execute) -> str:
    """Return the machine type that QEMU emulates, with its version, such as `pc-i440fx-7.2`: never an alias."""
    match await execute("qom-get", {"path": "/machine", "property": "type"}):
        case str(text):
            return text.removesuffix("-machine")
        case answer:
            raise Transient(f"QMP qom-get: QEMU answered {answer!r}", step=Step.QMP)


async def _prepare(execute: Execute, *, with_memory: bool) -> None:
    capability = {"capability": "x-ignore-shared", "state": not with_memory}
    await execute("migrate-set-capabilities", {"capabilities": [capability]})
    await execute("migrate-set-parameters", {"max-bandwidth": _BANDWIDTH_BYTES})


async def _await_migration(execute: Execute, what: str, deadline_s: float) -> None:
    pause_s = _POLL_S
    with anyio.move_on_after(deadline_s):
        while True:
            match await execute("query-migrate", {}):
                case {"status": "completed"}:
                    return
                case {"status": "failed" | "cancelled", **more}:
                    raise _refused(what, str(more.get("error-desc", "it gives no reason")))
                case _:
                    await anyio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _SLOWEST_POLL_S)
    message = f"QEMU does not {what} the guest's state within {deadline_s:g} s"
    raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded, or its disk full?")


def _refused(what: str, why: str) -> Transient | Permanent:
    message = f"QEMU does not {what} the guest's state: {why}"
    if what == "load":
        return Permanent(message, step=Step.QEMU, remedy="start the guest without the state")
    return Transient(message, step=Step.QEMU, remedy="is there room for the state?")


async def _cancel(execute: Execute) -> None:
    """Have QEMU stop writing. Ignores cancellation, and a QEMU that is gone."""
    with anyio.move_on_after(_UNDO_S, shield=True), suppress(Transient):
        await execute("migrate_cancel", {})
        while True:
            match await execute("query-migrate", {}):
                case {"status": "completed" | "failed" | "cancelled" | "none"}:
                    return
                case _:
                    await anyio.sleep(_POLL_S)
