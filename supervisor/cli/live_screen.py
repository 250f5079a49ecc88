"""`vtapd screen NAME`: shows a guest's text screen on a terminal, and sends keys to the guest.

The daemon sends pictures of the screen, and the font; the text is read back from them here.
"""

import base64
import codecs
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType

from supervisor.cli.client import fail, unreachable
from supervisor.cli.console import ESCAPE_KEY, HEARTBEAT_S, SIGNALS, raw_terminal
from supervisor.cli.screen_paint import ENTER, LEAVE, Painter, Palette
from supervisor.core.formats.text_screen import ScreenReader, size_of
from supervisor.core.formats.us_keyboard import parse_typed

_STDIN, _STDOUT = 0, 1
_READ_BYTES = 32768
_MOST_CHORDS = 64
"""In one message, so that the end of the command does not wait for a long text that was pasted."""
_FONT_AGAIN_S = 1.0
_LAST_PICTURE_S = 5.0


class LiveScreen:
    """One use of the command."""

    def __init__(self, name: str, *, view: bool) -> None:
        self._name = name
        self._view = view
        self.status = 0
        self.end = ""
        """Why it ended, if the user did not end it."""
        self._reader: ScreenReader | None = None
        self._picture = b""
        self._trouble = ""
        self._is_unread = False
        """Some of the last picture is no character of the font."""
        self._painter = Painter(Palette.of_environment(os.environ), *_terminal_size())

    async def run(self, socket_path: str, url: str) -> None:
        """Run until Ctrl-], or the end of the container. Raises OSError or ClientError if the daemon is gone."""
        async with (
            ClientSession(connector=UnixConnector(socket_path)) as session,
            session.ws_connect(f"http://localhost{url}", heartbeat=HEARTBEAT_S, max_msg_size=0) as messages,
        ):
            joined = await messages.receive_json(timeout=HEARTBEAT_S)
            if "error" in joined:
                self.status, self.end = 1, joined["error"]
                return
            with anyio.open_signal_receiver(*SIGNALS, signal.SIGWINCH) as signals, raw_terminal(terminal=True):
                _write(ENTER)
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._obey_signals, signals, tasks.cancel_scope)
                        tasks.start_soon(self._send_keys, messages, tasks.cancel_scope)
                        tasks.start_soon(self._renew_font, messages)
                        await self._show(messages)
                        tasks.cancel_scope.cancel()
                finally:
                    _write(LEAVE)

    async def _show(self, messages: ClientWebSocketResponse) -> None:
        while True:
            message = await messages.receive()
            if message.type is WSMsgType.BINARY:
                self._picture, self._trouble = message.data, ""
            elif message.type is WSMsgType.TEXT:
                self._note(json.loads(message.data))
            else:
                break
            self._paint()
        self.status = 0 if messages.close_code == 1000 else 1
        self.end = message.extra or "disconnected: the daemon has ended, or pictures were not read fast enough"

    async def _renew_font(self, messages: ClientWebSocketResponse) -> None:
        """Ask for the font again while there is something that it does not explain: the guest may have loaded another.

        The firmware loads the first one, which may be after the first picture.
        """
        while True:
            await anyio.sleep(_FONT_AGAIN_S)
            if self._is_unread:
                await messages.send_str(json.dumps({"font": True}))

    def _note(self, notice: dict[str, str]) -> None:
        if "font" in notice:
            font = base64.b64decode(notice["font"])
            if self._reader is None or self._reader.font != font:
                self._reader = ScreenReader(font)
        else:
            self._trouble = notice.get("text", "")

    def _paint(self) -> None:
        """Draw the last picture."""
        if self._reader is None or not self._picture:
            _write(self._painter.show([f"screen of {self._name}; Ctrl-] leaves", self._trouble]))
            return
        screen = self._reader.read(self._picture, time.monotonic())
        self._is_unread = screen is None or screen.unread > 0
        if screen is None:
            _write(self._painter.show(self._describe_graphics()))
        else:
            what = self._trouble or ("" if self._view else "keys go to the guest")
            _write(self._painter.paint(screen, f"[{self._name}: {what}{'; ' if what else ''}Ctrl-] leaves]"))

    def _describe_graphics(self) -> list[str]:
        width, height = size_of(self._picture) or (0, 0)
        return [
            f"The screen of {self._name} is in a graphics mode ({width}x{height}), which a terminal cannot show.",
            f"Save it as a picture: vtapd screen {self._name} -o {self._name}.png",
            "Keys go to the guest. Ctrl-] leaves." if not self._view else "Ctrl-] leaves.",
            self._trouble,
        ]

    async def _send_keys(self, messages: ClientWebSocketResponse, scope: anyio.CancelScope) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            await anyio.wait_readable(_STDIN)
            try:
                typed = os.read(_STDIN, _READ_BYTES)
            except OSError:
                typed = b""  # the terminal was closed
            before, escape, _ = typed.partition(ESCAPE_KEY)
            chords = [] if self._view else list(parse_typed(decoder.decode(before)))
            for first in range(0, len(chords), _MOST_CHORDS):
                await messages.send_str(json.dumps({"keys": chords[first : first + _MOST_CHORDS]}))
            if escape or not typed:
                scope.cancel()
                return

    async def _obey_signals(self, signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        async for number in signals:
            if number is signal.SIGWINCH:
                _write(self._painter.resize(*_terminal_size()))
                self._paint()
            else:
                self.status = 128 + number
                scope.cancel()
                return


async def _read_once(socket_path: str, url: str) -> tuple[bytes, bytes]:
    """Return a font and a picture. Raises OSError or ClientError if the daemon is gone."""
    font = picture = b""
    async with (
        ClientSession(connector=UnixConnector(socket_path)) as session,
        session.ws_connect(f"http://localhost{url}", max_msg_size=0) as messages,
    ):
        with anyio.fail_after(_LAST_PICTURE_S):
            while not (font and picture):
                message = await messages.receive()
                if message.type is WSMsgType.BINARY:
                    picture = message.data
                elif message.type is WSMsgType.TEXT:
                    notice = json.loads(message.data)
                    if "error" in notice or "text" in notice:
                        fail(notice.get("error") or notice["text"])
                    font = base64.b64decode(notice.get("font", "")) or font
                else:
                    raise ConnectionError("the daemon has ended")
    return font, picture


def show_live(socket_path: str, url: str, name: str, *, view: bool) -> int:
    """Show the screen and return the exit status. The terminal is restored when this returns."""
    screen = LiveScreen(name, view=view)
    try:
        anyio.run(screen.run, socket_path, url)
    except* (OSError, ClientError) as group:
        fail(unreachable(socket_path, group))
    if screen.end:
        if screen.status:
            fail(screen.end)
        sys.stderr.write(f"[vtapd: {screen.end}]\n")
    return screen.status


def read_text(socket_path: str, url: str, name: str) -> str:
    """Return the text on the screen. Ends the command if there is none."""
    try:
        font, picture = anyio.run(_read_once, socket_path, url)
    except (OSError, ClientError) as error:
        fail(unreachable(socket_path, error))
    screen = ScreenReader(font).read(picture, 0.0)
    if screen is None:
        fail(f"the screen of {name} is in a graphics mode; save it as a picture: vtapd screen {name} -o FILE.png")
    return screen.text()


def _terminal_size() -> tuple[int, int]:
    """Return lines and columns."""
    with suppress(OSError):
        columns, lines = os.get_terminal_size(_STDOUT)
        if lines and columns:
            return lines, columns
    return 25, 80


def _write(text: str) -> None:
    data = text.encode()
    with suppress(OSError):  # the terminal was closed
        while data:
            data = data[os.write(_STDOUT, data) :]
