"""`vtapd console`: connects a terminal or a pipe to a guest's serial console. Restores the terminal in every case."""

import json
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.abc
from aiohttp import (
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    UnixConnector,
    WSMsgType,
    WSServerHandshakeError,
)

from supervisor.cli.client import fail, first_of, unreachable
from supervisor.text import escape_controls

ESCAPE_KEY = b"\x1d"
"""Ctrl-]"""
HEARTBEAT_S = 60.0
_READ_BYTES = 32768
_STDIN, _STDOUT = 0, 1
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@dataclass
class ConsoleClient:
    """One use of the command. `linger_s`: after the end of piped input, wait until the guest was silent this long."""

    name: str
    view: bool
    linger_s: float
    status: int = 0
    silence: anyio.CancelScope | None = None
    """Ends when the guest has been silent for long enough."""

    def __post_init__(self) -> None:
        self.terminal = os.isatty(_STDIN)
        self.input_delivered = anyio.Event()
        """Set when all piped input has reached the guest or was dropped."""

    def notify(self, message: str) -> None:
        """Print a message of vtapd itself, on standard error."""
        end = "\r\n" if self.terminal else "\n"
        line = f"{end if self.terminal else ''}[vtapd: {escape_controls(message)}]{end}"
        with suppress(OSError):  # the terminal was closed
            os.write(sys.stderr.fileno(), line.encode())

    async def run(self, socket_path: str, url: str) -> None:
        """Run until the console or the input ends. Raises OSError or ClientError if the daemon cannot be reached."""
        query = "?view" if self.view else ""
        async with (
            ClientSession(connector=UnixConnector(socket_path)) as session,
            session.ws_connect(f"http://localhost{url}{query}", heartbeat=HEARTBEAT_S, max_msg_size=0) as messages,
        ):
            joined = await messages.receive_json(timeout=HEARTBEAT_S)
            if not (joined["writes"] or self.view or self.terminal):
                self.status = 1
                self.notify("nothing was sent: another console writes; use --view to watch only")
                return
            with anyio.open_signal_receiver(*SIGNALS) as signals, raw_terminal(self.terminal):
                if self.terminal:
                    self.notify(f"console of {self.name}; Ctrl-] leaves")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._end_on_signal, signals, tasks.cancel_scope)
                    if self.terminal or not self.view:
                        tasks.start_soon(self._send_input, messages, tasks.cancel_scope)
                    with suppress(BrokenPipeError):  # the reader of the output has ended
                        await self._print_output(messages)
                    tasks.cancel_scope.cancel()
            if self.terminal:
                self.notify(f"left the console of {self.name}")

    async def _print_output(self, messages: ClientWebSocketResponse) -> None:
        while True:
            message = await messages.receive()
            if message.type is WSMsgType.BINARY:
                _write(message.data)
                if self.silence is not None:
                    self.silence.deadline = anyio.current_time() + self.linger_s
            elif message.type is WSMsgType.TEXT:
                notice = json.loads(message.data)
                if notice.get("typed"):
                    self.input_delivered.set()
                else:
                    self.notify(notice["text"])
            else:
                break
        self.status = 0 if messages.close_code == 1000 else 1
        self.notify(message.extra or "disconnected: the daemon has ended, or output was not read fast enough")

    async def _send_input(self, messages: ClientWebSocketResponse, scope: anyio.CancelScope) -> None:
        while True:
            with suppress(PermissionError):  # man 2 epoll_ctl: standard input is a file, which is always readable
                await anyio.wait_readable(_STDIN)
            typed = _read()
            keys, escape, _ = typed.partition(ESCAPE_KEY) if self.terminal else (typed, b"", b"")
            if keys:
                await messages.send_bytes(keys)
            if escape or not typed:
                break
        if not self.terminal:
            await messages.send_str("typed?")
            await self.input_delivered.wait()
            with anyio.move_on_after(self.linger_s) as self.silence:
                await anyio.sleep_forever()
        scope.cancel()

    async def _end_on_signal(self, signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        async for number in signals:
            self.status = 128 + number
            scope.cancel()
            return


def attach_console(socket_path: str, url: str, client: ConsoleClient) -> int:
    """Run the client and return the exit status. The terminal is restored when this returns."""
    try:
        anyio.run(client.run, socket_path, url)
    except* WSServerHandshakeError as refusal:
        fail(f"the daemon refuses the connection (HTTP {first_of(refusal)}); close other consoles and `vtapd events`")
    except* (OSError, ClientError) as group:
        fail(unreachable(socket_path, group))
    return client.status


@contextmanager
def raw_terminal(terminal: bool) -> Iterator[None]:
    """Send each key as it is typed, and print output unchanged (man 3 cfmakeraw)."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN)
        yield
    finally:
        with suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(_STDIN, termios.TCSANOW, before)


def _read() -> bytes:
    try:
        return os.read(_STDIN, _READ_BYTES)
    except OSError:
        return b""  # the terminal was closed


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_STDOUT, data) :]
