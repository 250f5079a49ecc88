"""`vtapd console`: a terminal, or a pipe, on a guest's serial console; whatever happens, the terminal is as it was."""

import json
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

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

LEAVE = b"\x1d"
"""Ctrl-]"""
_BEAT_S = 60.0
_PIECE_BYTES = 32768
_STDIN, _STDOUT = 0, 1
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@dataclass
class Visit:
    """One use of the command. `linger_s`: after the end of piped input, until the guest was silent for so long."""

    name: str
    view: bool
    linger_s: float
    status: int = 0
    silence: anyio.CancelScope | None = None
    """What ends once the guest was silent for long enough."""

    def __post_init__(self) -> None:
        self.terminal = os.isatty(_STDIN)
        self.typed = anyio.Event()
        """Set once all that was piped in has reached the guest, or was dropped."""

    def say(self, word: str) -> None:
        """To the person, beside what the guest says."""
        end = "\r\n" if self.terminal else "\n"
        line = f"{end if self.terminal else ''}[vtapd: {escape_controls(word)}]{end}"
        with suppress(OSError):  # nobody sits there any more
            os.write(sys.stderr.fileno(), line.encode())

    async def run(self, socket_path: Path, url: str) -> None:
        """Raises OSError or ClientError where the daemon cannot be reached."""
        query = "?view" if self.view else ""
        async with (
            ClientSession(connector=UnixConnector(str(socket_path))) as session,
            session.ws_connect(f"http://localhost{url}{query}", heartbeat=_BEAT_S, max_msg_size=0) as messages,
        ):
            joined = await messages.receive_json(timeout=_BEAT_S)
            if not (joined["writes"] or self.view or self.terminal):
                self.status = 1
                self.say("nothing was typed: somebody else writes; --view only watches")
                return
            with anyio.open_signal_receiver(*_ENDING) as signals, _raw_terminal(self.terminal):
                if self.terminal:
                    self.say(f"console of {self.name}; Ctrl-] leaves")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._end_on_signal, signals, tasks.cancel_scope)
                    if self.terminal or not self.view:
                        tasks.start_soon(self._type, messages, tasks.cancel_scope)
                    with suppress(BrokenPipeError):  # whoever read the output has seen enough
                        await self._show(messages)
                    tasks.cancel_scope.cancel()
            if self.terminal:
                self.say(f"left the console of {self.name}")

    async def _show(self, messages: ClientWebSocketResponse) -> None:
        while True:
            message = await messages.receive()
            if message.type is WSMsgType.BINARY:
                _write(message.data)
                if self.silence is not None:
                    self.silence.deadline = anyio.current_time() + self.linger_s
            elif message.type is WSMsgType.TEXT:
                told = json.loads(message.data)
                if told.get("typed"):
                    self.typed.set()
                else:
                    self.say(told["text"])
            else:
                break
        self.status = 0 if messages.close_code == 1000 else 1
        self.say(message.extra or "hung up: the daemon is gone, or too little was read here")

    async def _type(self, messages: ClientWebSocketResponse, scope: anyio.CancelScope) -> None:
        while True:
            with suppress(PermissionError):  # man 2 epoll_ctl: a file, which never keeps one waiting
                await anyio.wait_readable(_STDIN)
            typed = _read()
            keys, left, _ = typed.partition(LEAVE) if self.terminal else (typed, b"", b"")
            if keys:
                await messages.send_bytes(keys)
            if left or not typed:
                break
        if not self.terminal:
            await messages.send_str("typed?")
            await self.typed.wait()
            with anyio.move_on_after(self.linger_s) as self.silence:
                await anyio.sleep_forever()
        scope.cancel()

    async def _end_on_signal(self, signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        async for number in signals:
            self.status = 128 + number
            scope.cancel()
            return


def visit_console(socket_path: Path, url: str, visit: Visit) -> int:
    """The exit status. Returns once the terminal is as it was."""
    try:
        anyio.run(visit.run, socket_path, url)
    except* WSServerHandshakeError as refusal:
        fail(f"the daemon lets nobody in (HTTP {first_of(refusal)}); close other consoles and followers of events")
    except* (OSError, ClientError) as group:
        fail(unreachable(socket_path, group))
    return visit.status


@contextmanager
def _raw_terminal(terminal: bool) -> Iterator[None]:
    """Each key goes out as it is typed, and what comes in is not changed."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN)
        yield
    finally:
        with suppress(termios.error):  # there is no terminal any more
            termios.tcsetattr(_STDIN, termios.TCSANOW, before)


def _read() -> bytes:
    try:
        return os.read(_STDIN, _PIECE_BYTES)
    except OSError:
        return b""  # the terminal was closed


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_STDOUT, data) :]
