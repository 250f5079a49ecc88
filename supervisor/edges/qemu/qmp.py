"""Talk QMP with one QEMU, over the socket that the daemon bound for it (docs/interop/qmp-spec.rst of QEMU).

A session has no task of its own: the loop calls it when QEMU has sent something. Events are passed on as they come, and
none is kept.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec

from supervisor.errors import Step, Transient

_GOODBYE_S = 1.0
_READ_BYTES = 1 << 16
_MOST_LINE_BYTES = 10 << 20
"""More than QEMU ever sends in one message."""
_GREETING, _END = "greeting", "end"
"""What is awaited besides the answers to commands, which have numbers."""


class QmpSession:
    """One connection. `on_event` gets each event's name and data, in the order in which QEMU sent them."""

    __slots__ = ("_awaited", "_connection", "_number", "_on_event", "_passing", "_received", "version")

    def __init__(self, on_event: Callable[[str, dict[str, object]], None]) -> None:
        self.version = (0, 0)
        """QEMU's major and minor version, once it is connected."""
        self._on_event = on_event
        self._connection: socket.socket | None = None
        self._received = bytearray()
        """The beginning of a line."""
        self._number = 0
        """Of the last command."""
        self._awaited: dict[int | str, asyncio.Future[object]] = {}
        # QEMU keeps one descriptor, the last that was sent, until a command takes it.
        self._passing = anyio.Lock()

    async def connect(self, path: Path) -> None:
        """Connect and negotiate. The caller sets the deadline: QEMU answers once it has started.

        Raises Transient if QEMU does not answer in QMP, or hangs up.
        """
        self.hang_up()
        try:
            connection = _connect(path)
            self._connection = connection
            asyncio.get_running_loop().add_reader(connection.fileno(), self._read)
            try:
                await self._wait_for(_GREETING)
                await self.execute("qmp_capabilities")
            except BaseException:
                if self._connection is connection:
                    self.hang_up()
                raise
        except (Transient, OSError) as error:
            raise Transient(f"no QMP session on {path}: {error}", step=Step.QMP) from error

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        descriptors: Mapping[str, int] | None = None,
    ) -> object:
        """Run one command and return its answer. Raises Transient if QEMU refuses it or is gone.

        Before, send QEMU duplicates of the descriptors that it names (QMP getfd). They stay the caller's.
        """
        if not descriptors:
            return await self._execute(command, arguments)
        *others, (name, descriptor) = descriptors.items()
        async with self._passing:
            for other, its_descriptor in others:
                await self._pass(its_descriptor, "getfd", {"fdname": other})
            # Both are sent at once: a guest may be paused until they are answered.
            passed = self._pass(descriptor, "getfd", {"fdname": name})
            _, answer = await asyncio.gather(passed, self._execute(command, arguments))
            return answer

    async def _execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        self._number += 1
        number, message = self._number, {"execute": command, "id": self._number}
        try:
            self._send(msgspec.json.encode(message | {"arguments": arguments} if arguments else message))
            return await self._wait_for(number)
        except (Transient, OSError, TypeError, ValueError) as error:
            raise Transient(f"QMP {command}: {error}", step=Step.QMP) from error

    async def add_descriptor(self, descriptor: int) -> int:
        """Send QEMU a duplicate that it can open as a file, /dev/fdset/N (QMP add-fd). Return N.

        Raises Transient if QEMU is gone.
        """
        async with self._passing:
            answer = await self._pass(descriptor, "add-fd", {})
        match answer:
            case {"fdset-id": int(number)}:
                return number
            case _:
                raise Transient(f"QMP add-fd: QEMU answered {answer!r}", step=Step.QMP)

    async def _pass(self, descriptor: int, command: str, arguments: Mapping[str, object]) -> object:
        try:
            self._send(b" ", descriptor)  # QMP skips blanks
        except (Transient, OSError) as error:
            raise Transient(f"QMP {command}: {error}", step=Step.QMP) from error
        return await self._execute(command, arguments)

    async def close(self) -> None:
        """Receive QEMU's last events, then disconnect. Has a deadline. Ignores cancellation."""
        with anyio.move_on_after(_GOODBYE_S, shield=True), suppress(Transient):
            await self._wait_for(_END)
        self.hang_up()

    def hang_up(self) -> None:
        """Disconnect from a QEMU that runs on. A later daemon may connect to it."""
        self._disconnect("the connection was closed")

    def _send(self, data: bytes, *descriptors: int) -> None:
        """Send a command. A QEMU that has not read the commands before, so that there is no room, is disconnected."""
        connection = self._open_connection()
        sent = socket.send_fds(connection, [data], descriptors) if descriptors else connection.send(data)
        if sent < len(data):
            self._disconnect("it does not read its commands")

    def _open_connection(self) -> socket.socket:
        if self._connection is None:
            raise Transient("QEMU is not connected", step=Step.QMP)
        return self._connection

    async def _wait_for(self, what: int | str) -> object:
        """Return what QEMU answers. Raises Transient if it refuses, or is disconnected."""
        self._open_connection()
        answer = self._awaited[what] = asyncio.get_running_loop().create_future()
        try:
            return await answer
        finally:
            if self._awaited.get(what) is answer:
                del self._awaited[what]

    def _read(self) -> None:
        """Take what QEMU has sent. The loop calls this."""
        connection = self._open_connection()
        try:
            received = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._disconnect(error.strerror or str(error))
            return
        if not received:
            self._disconnect("QEMU has closed the connection")
            return
        self._received += received
        if len(self._received) > _MOST_LINE_BYTES:
            self._disconnect("it sends a line without an end")
            return
        if b"\n" not in received:
            return
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        for line in lines:
            if self._connection is not connection:
                return
            if line.strip():
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        match message:
            case {"event": str(name)}:
                data = message.get("data")
                self._on_event(name, data if isinstance(data, dict) else {})
            case {"QMP": {"version": {"qemu": {"major": int(major), "minor": int(minor)}}}}:
                self.version = (major, minor)
                self._answer(_GREETING, None)
            case {"id": int(number), "return": answer}:
                self._answer(number, answer)
            case {"id": int(number), "error": {"desc": str(why)}}:
                self._answer(number, Transient(why, step=Step.QMP))
            case _:
                self._disconnect("it sends what is no QMP")

    def _answer(self, to: int | str, said: object) -> None:
        """Give an answer to the task that waits for it, if one still does."""
        waiting = self._awaited.pop(to, None)
        if waiting is None or waiting.done():
            return
        if isinstance(said, Transient):
            waiting.set_exception(said)
        else:
            waiting.set_result(said)

    def _disconnect(self, because: str) -> None:
        """Close the connection, if there is one, and end all waiting for it."""
        if self._connection is None:
            return
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._connection.close()
        self._connection = None
        self._received.clear()
        for awaited in [*self._awaited]:
            self._answer(awaited, Transient(because, step=Step.QMP))


def _connect(path: Path) -> socket.socket:
    """Return a connection, which never waits. The caller owns it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection
