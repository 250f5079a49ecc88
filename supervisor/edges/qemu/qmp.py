"""QMP: the conversation with one QEMU, over the socket that the daemon bound for it. Knows qemu.qmp alone.

After QEMU hung up qemu.qmp's iterators fall silent instead of ending, so the end of a guest is told by its pidfd; here
events are handed on as they come, and none is kept.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import anyio
from qemu.qmp import EventListener, Message, QMPClient, QMPError, Runstate

from supervisor.errors import Step, Transient

_GOODBYE_S = 1.0
_BROKEN = (QMPError, OSError, EOFError, ValueError, TypeError, LookupError, RecursionError)
"""What qemu.qmp raises where QEMU is gone, or sends what is no QMP: whatever its parser trips over."""


class QmpSession:
    """One connection. `on_event` is called with an event's name and data, in the order in which QEMU sent them."""

    def __init__(self, name: str, on_event: Callable[[str, dict[str, object]], None]) -> None:
        self._client = _Client(name)
        self._client.events.event_filter = lambda _event: False  # the default listener would keep every event
        self._client.register_listener(_Forwarder(on_event))
        # One may hang up while another still connects; qemu.qmp fails its own assertions when both undo a connection.
        self._changing = anyio.Lock()
        # QEMU holds on to one descriptor, the last that was sent, until a command takes it.
        self._passing = anyio.Lock()

    async def connect(self, path: Path) -> None:
        """Connect and negotiate. The caller sets the deadline: QEMU answers once it has started."""
        async with self._changing:
            try:
                await _undisturbed(self._client.connect(str(path)))
            except AssertionError as error:  # qemu.qmp's, where QEMU hangs up at the very end of the negotiation
                raise Transient(f"no QMP session on {path}: QEMU hung up", step=Step.QMP) from error
            except _BROKEN as error:
                raise Transient(f"no QMP session on {path}: {error}", step=Step.QMP) from error

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """One command and its answer. Raises Transient when QEMU refuses it or is gone."""
        try:
            return await self._client.execute(command, arguments)
        except _BROKEN as error:
            raise Transient(f"QMP {command}: {error}", step=Step.QMP) from error

    async def pass_descriptor(self, name: str, descriptor: int) -> None:
        """Hand QEMU a duplicate under this name (QMP getfd). The descriptor stays the caller's.

        Raises Transient when QEMU is gone.
        """
        await self._pass(descriptor, "getfd", {"fdname": name})

    async def add_descriptor(self, descriptor: int) -> int:
        """Hand QEMU a duplicate that it opens as a file, /dev/fdset/N (QMP add-fd). Returns N.

        Raises Transient when QEMU is gone.
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
        """Take in what QEMU still said, then hang up. Bounded, and done even when the caller is cancelled."""
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            while self._client.runstate is Runstate.RUNNING:
                await self._client.runstate_changed()
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            await self._disconnect()

    async def hang_up(self) -> None:
        """Leave a QEMU that goes on running, for a later daemon to connect to."""
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            await self._disconnect()

    async def _disconnect(self) -> None:
        async with self._changing:
            try:
                await _undisturbed(self._client.disconnect())
            except _BROKEN:
                return  # how the connection ended; that QEMU did is known from elsewhere


async def _undisturbed(change: Coroutine[None, None, None]) -> None:
    """Connect or disconnect in a task of its own.

    A change that is given up is undone by qemu.qmp with awaits of its own: it may be cancelled once, but anyio cancels
    again at each of them, until the library finds itself in a state that it asserts cannot be.
    """
    task = asyncio.ensure_future(change)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody else asks any more
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            with anyio.move_on_after(_GOODBYE_S, shield=True):
                await asyncio.wait({task})
    await task


class _Client(QMPClient):
    """Without a log of all messages, which qemu.qmp formats even where nobody reads it."""

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
