"""Talk QMP with one QEMU, over the socket that the daemon bound for it. Only this module knows qemu.qmp.

Events are passed on as they come, and none is kept: after QEMU has closed the connection, qemu.qmp's iterators wait for
ever instead of ending. That a guest has exited is seen by its pidfd.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import anyio
from qemu.qmp import EventListener, Message, QMPClient, QMPError, Runstate

from supervisor.errors import Step, Transient

_GOODBYE_S = 1.0
_BROKEN = (QMPError, OSError, EOFError, ValueError, TypeError, LookupError, RecursionError)
"""What qemu.qmp raises if QEMU is gone, or sends data that is not QMP: the errors of its parser."""


class QmpSession:
    """One connection. `on_event` gets each event's name and data, in the order in which QEMU sent them."""

    def __init__(self, name: str, on_event: Callable[[str, dict[str, object]], None]) -> None:
        self._client = _Client(name)
        self._client.events.event_filter = lambda _event: False  # the default listener would keep every event
        self._client.register_listener(_Forwarder(on_event))
        # One task may disconnect while another connects; qemu.qmp fails its own assertions if both undo a connection.
        self._changing = anyio.Lock()
        # QEMU keeps one descriptor, the last that was sent, until a command takes it.
        self._passing = anyio.Lock()

    async def connect(self, path: Path) -> None:
        """Connect and negotiate. The caller sets the deadline: QEMU answers once it has started."""
        async with self._changing:
            try:
                await _undisturbed(self._client.connect(str(path)))
            except AssertionError as error:
                # By qemu.qmp, if QEMU closes the connection at the very end of the negotiation.
                raise Transient(f"no QMP session on {path}: QEMU hung up", step=Step.QMP) from error
            except _BROKEN as error:
                raise Transient(f"no QMP session on {path}: {error}", step=Step.QMP) from error

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run one command and return its answer. Raises Transient if QEMU refuses it or is gone."""
        try:
            return await self._client.execute(command, arguments)
        except _BROKEN as error:
            raise Transient(f"QMP {command}: {error}", step=Step.QMP) from error

    async def pass_descriptor(self, name: str, descriptor: int) -> None:
        """Send QEMU a duplicate under this name (QMP getfd). The descriptor stays the caller's.

        Raises Transient if QEMU is gone.
        """
        await self._pass(descriptor, "getfd", {"fdname": name})

    async def add_descriptor(self, descriptor: int) -> int:
        """Send QEMU a duplicate that it can open as a file, /dev/fdset/N (QMP add-fd). Return N.

        Raises Transient if QEMU is gone.
        """
        match await self._pass(descriptor, "add-fd", {}):
            case {"fdset-id": int(number)}:
                return number
            case answer:
                raise Transient(f"QMP add-fd: QEMU answered {answer!r}", step=Step.QMP)

    async def _pass(self, descriptor: int, command: str, arguments: Mapping[str, object]) -> object:
        async with self._passing:
            try:
                self._client.send_fd_scm(descriptor)
            except _BROKEN as error:
                raise Transient(f"QMP {command}: {error}", step=Step.QMP) from error
            return await self.execute(command, arguments)

    async def close(self) -> None:
        """Receive QEMU's last events, then disconnect. Has a deadline. Ignores cancellation."""
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            while self._client.runstate is Runstate.RUNNING:
                await self._client.runstate_changed()
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            await self._disconnect()

    async def hang_up(self) -> None:
        """Disconnect from a QEMU that runs on. A later daemon may connect to it."""
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            await self._disconnect()

    async def _disconnect(self) -> None:
        async with self._changing:
            try:
                await _undisturbed(self._client.disconnect())
            except _BROKEN:
                return  # how the connection ended does not matter


async def _undisturbed(change: Coroutine[None, None, None]) -> None:
    """Connect or disconnect in a separate task, so that it is cancelled at most once.

    When it is cancelled, qemu.qmp undoes the change, and awaits while it does so. anyio would cancel each of these
    awaits as well, until one of the library's assertions fails.
    """
    task = asyncio.ensure_future(change)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nothing may read the result any more
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            with anyio.move_on_after(_GOODBYE_S, shield=True):
                await asyncio.wait({task})
    await task


class _Client(QMPClient):
    """Leaves out the log of all messages, which qemu.qmp formats even if it is not shown."""

    def _cb_outbound(self, msg: Message) -> Message:
        return msg

    def _cb_inbound(self, msg: Message) -> Message:
        return msg


class _Forwarder(EventListener):
    def __init__(self, on_event: Callable[[str, dict[str, object]], None]) -> None:
        super().__init__()
        self._on_event = on_event

    async def put(self, event: Message) -> None:
        name, data = event.get("event"), event.get("data")
        if isinstance(name, str):
            self._on_event(name, data if isinstance(data, dict) else {})
