"""Serve a guest's screen to viewers over WebSockets: pictures and the card's font to them, their keys to the guest.

QEMU draws only while there is a viewer, and as rarely for many as for one. The viewer reads the text in the pictures:
the daemon does not look at what a guest draws.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.abc
from aiohttp import WSCloseCode, WSMsgType, web

from supervisor.api.screen import screen_of
from supervisor.container.worker import Worker
from supervisor.core.formats.us_keyboard import is_chord
from supervisor.errors import Permanent, Transient, VtapdError

MAX_MESSAGE_BYTES = 1 << 16
_FRAME_S, _LONGEST_S = 0.1, 1.0
_SHARE = 10
"""After a picture that took long, such as a large one in a graphics mode, QEMU rests for so many times longer."""
_NO_PICTURE_S = 0.5
_KEY_S = 0.01
"""Between two keys: the keyboard's queue has 16 bytes, and a key takes up to 6 (hw/input/ps2.c)."""
_WRITE_S = 30.0
_CLOSE_S = 1.0


class _Feed:
    """The pictures of one container's screen, for all of its viewers."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.viewers = 0
        self._one = anyio.Lock()
        self._due_s = 0.0
        self._picture = b""

    async def draw(self) -> bytes:
        """Return a picture once one is due. Raises VtapdError if there is no screen."""
        await anyio.sleep_until(self._due_s)
        async with self._one:
            before_s = anyio.current_time()
            if before_s >= self._due_s:
                self._picture = await screen_of(self.worker).draw()
                took_s = anyio.current_time() - before_s
                self._due_s = before_s + min(max(_FRAME_S, _SHARE * took_s), _LONGEST_S)
            return self._picture


class LiveScreens:
    """The screens that are looked at."""

    def __init__(self) -> None:
        self._feeds: dict[str, _Feed] = {}

    async def serve(self, messages: web.WebSocketResponse, worker: Worker) -> None:
        """Serve a viewer until it leaves, or the container ends. Raises TimeoutError if it no longer reads."""
        try:
            screen_of(worker)
        except VtapdError as error:
            await messages.send_str(json.dumps({"error": str(error)}))
            return
        await messages.send_str(json.dumps({"name": worker.name}))
        with self._watched(worker) as feed:
            viewer = _Viewer(messages, feed)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(viewer.send, tasks.cancel_scope)
                async for message in messages:
                    if message.type is WSMsgType.TEXT:
                        await viewer.obey(message.data)
                tasks.cancel_scope.cancel()

    @contextmanager
    def _watched(self, worker: Worker) -> Iterator[_Feed]:
        feed = self._feeds.setdefault(worker.id, _Feed(worker))
        feed.viewers += 1
        try:
            yield feed
        finally:
            feed.viewers -= 1
            if not feed.viewers:
                self._feeds.pop(worker.id, None)


class _Viewer:
    def __init__(self, messages: web.WebSocketResponse, feed: _Feed) -> None:
        self._messages = messages
        self._feed = feed
        self._qemu: int | None = None
        """The QEMU whose font was sent."""
        self._trouble = ""

    async def send(self, scope: anyio.CancelScope) -> None:
        """Send each picture that differs from the last one, and the font before the first one of each QEMU."""
        last = b""
        while self._feed.worker.container.live is not None:
            try:
                picture = await self._feed.draw()
                await self._send_font_of_new_qemu()
            except VtapdError as error:
                await self._report(str(error))
                await anyio.sleep(_NO_PICTURE_S)
                continue
            if picture != last or self._trouble:
                with anyio.fail_after(_WRITE_S):
                    await self._messages.send_bytes(picture)
                last, self._trouble = picture, ""
        with anyio.move_on_after(_CLOSE_S):
            await self._messages.close(code=WSCloseCode.OK, message=b"the container has ended")
        scope.cancel()

    async def obey(self, text: str) -> None:
        """Do what the viewer asks: press keys, or send the font again. Anything else is ignored."""
        try:
            match json.loads(text):
                case {"keys": list(chords)}:
                    await self._press(chords)
                case {"font": True}:
                    self._qemu = None
        except ValueError:
            return  # it is no JSON

    async def _press(self, chords: list[object]) -> None:
        for chord in chords:
            if isinstance(chord, list) and is_chord(chord):
                try:
                    await screen_of(self._feed.worker).press(chord)
                except (Permanent, Transient) as error:
                    await self._report(f"what was typed is lost: {error}")
                    return
                await anyio.sleep(_KEY_S)

    async def _send_font_of_new_qemu(self) -> None:
        qemu = self._feed.worker.status().qemu
        if qemu is not None and qemu.pid != self._qemu:
            font = await screen_of(self._feed.worker).read_font()
            await self._messages.send_str(json.dumps({"font": base64.b64encode(font).decode()}))
            self._qemu = qemu.pid

    async def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            await self._messages.send_str(json.dumps({"text": trouble}))
            self._trouble = trouble
