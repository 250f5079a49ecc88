"""Start QEMUs that wait for a guest's state: of a guest that runs in another QEMU, of a snapshot, or of one that slept.

Each is on the container's record before it is given a state. So a daemon that is killed meanwhile leaves no doubt: the
guest is in the QEMU that was let run last (`interrupted_handover`).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from supervisor.core.record import ProcessRecord
from supervisor.edges.qemu import migration
from supervisor.errors import Step, Transient
from supervisor.guest.context import GuestContext
from supervisor.guest.launch_request import Launch
from supervisor.guest.launcher import launch
from supervisor.guest.qemu_process import VARIANTS
from supervisor.guest.run_record import RunRecord
from supervisor.guest.session import GuestSession
from supervisor.guest.session_starter import SessionStarter

_ANSWERS_S = 10.0


class WaitingQemus:
    """Those of one container, of which at most one waits."""

    def __init__(self, context: GuestContext, record: RunRecord, starter: SessionStarter) -> None:
        self._context = context
        self._record = record
        self._starter = starter

    async def start(self, start: Launch, describe: Callable[[ProcessRecord], ProcessRecord]) -> GuestSession:
        """Start a QEMU that waits, on sockets that no other QEMU of the container has.

        `describe` returns its record with what is known of the guest that it will get. Raises as `launch` does.
        """
        guest = self._record.guest
        used = {each.sockets for each in (guest.process, guest.waiting) if each is not None}
        order = replace(start, paths=start.paths.of(next(each for each in VARIANTS if each not in used)))
        qemu = await launch(self._context, order)
        qemu.record = describe(qemu.record)
        session = self._starter.follow(order.container, order.handles, order.plan, qemu, waits=True)
        async with retired_if_it_fails(session):
            self._record.write(replace(self._record.guest, waiting=qemu.record))
        return session


async def await_prepared(session: GuestSession, *, with_memory: bool) -> None:
    """Wait until a QEMU that waits is prepared for a state. If that fails, raise Transient, and leave no such QEMU.

    `with_memory`: the guest's memory is part of the state, and not in a file.
    """
    async with retired_if_it_fails(session):
        try:
            with anyio.fail_after(_ANSWERS_S):
                await session.wait_answering()
        except TimeoutError as error:
            message = f"QEMU does not answer within {_ANSWERS_S:g} s"
            raise Transient(message, step=Step.QEMU, remedy="is the machine overloaded?") from error
        if session.has_ended:
            await session.retire()
            raise Transient(f"the QEMU that waits for the guest's state has ended{_quoted(session)}", step=Step.QEMU)
        await migration.prepare(session.execute, with_memory=with_memory)


def _quoted(session: GuestSession) -> str:
    return f": {session.complaint}" if session.complaint else ""


def as_before(waiting: ProcessRecord, before: ProcessRecord) -> ProcessRecord:
    """Return the record of a QEMU whose guest goes on, not as one that has just started."""
    return replace(
        waiting,
        spawned_at_s=before.spawned_at_s,
        ready_at_s=before.ready_at_s,
        notes=before.notes,
        whereabouts=before.whereabouts,
        restored=before.restored,
        terms=before.terms,
    )


def as_woken(waiting: ProcessRecord, before: ProcessRecord) -> ProcessRecord:
    """Return the record of a QEMU in which a guest goes on that slept: it runs from now on, with memory of its own."""
    return replace(as_before(waiting, before), spawned_at_s=waiting.spawned_at_s, restored=False)


@asynccontextmanager
async def retired_if_it_fails(session: GuestSession) -> AsyncIterator[None]:
    """Leave no QEMU that waits if the block fails or is cancelled."""
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await session.retire()
        raise
