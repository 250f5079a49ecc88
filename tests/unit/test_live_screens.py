"""How often QEMU draws a screen that is looked at, and what a viewer can make the daemon do."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import anyio
import pytest
from aiohttp import WSMessage, WSMsgType, web

from supervisor.api import live_screen
from supervisor.api.live_screen import LiveScreens
from supervisor.container.worker import Worker
from supervisor.errors import Permanent, Step, Transient

LOOK_S = 0.5
MOST_DRAWN = 2 + LOOK_S / 0.1


class Screen:
    """Its picture changes each time that it is drawn."""

    def __init__(self) -> None:
        self.drawn, self.fonts = 0, 0
        self.pressed: list[Sequence[str]] = []
        self.trouble: Transient | None = None

    async def draw(self) -> bytes:
        self.drawn += 1
        return b"picture %d" % self.drawn

    async def read_font(self) -> bytes:
        self.fonts += 1
        return b"font"

    async def press(self, keys: Sequence[str]) -> None:
        if self.trouble:
            raise self.trouble
        self.pressed.append(keys)


class Messages:
    """A WebSocket whose other end types some messages, looks for a while, and leaves."""

    def __init__(self, *typed: str) -> None:
        self.typed, self.texts, self.pictures = typed, list[dict[str, object]](), list[bytes]()
        self.closed = False

    async def send_str(self, text: str) -> None:
        self.texts.append(json.loads(text))

    async def send_bytes(self, data: bytes) -> None:
        self.pictures.append(data)

    async def close(self, **_: object) -> None:
        self.closed = True

    def __aiter__(self) -> "Messages":
        self._left = list(self.typed)
        return self

    async def __anext__(self) -> WSMessage:
        if self._left:
            return WSMessage(WSMsgType.TEXT, self._left.pop(0), None)
        await anyio.sleep(LOOK_S)
        raise StopAsyncIteration


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(live_screen, "screen_of", lambda _worker: screen)
    return screen


WORKER = cast(
    "Worker",
    SimpleNamespace(
        id="c0ffee",
        name="web",
        container=SimpleNamespace(live=object()),
        status=lambda: SimpleNamespace(qemu=SimpleNamespace(pid=7)),
    ),
)


def serve(*viewers: Messages) -> None:
    async def run() -> None:
        screens = LiveScreens()
        async with anyio.create_task_group() as tasks:
            for viewer in viewers:
                tasks.start_soon(screens.serve, cast("web.WebSocketResponse", viewer), WORKER)

    anyio.run(run)


def test_screen_is_drawn_as_rarely_for_many_viewers_as_for_one(screen: Screen) -> None:
    viewers = [Messages() for _ in range(3)]
    serve(*viewers)
    assert 0 < screen.drawn <= MOST_DRAWN
    for viewer in viewers:
        assert viewer.texts[:2] == [{"name": "web"}, {"font": "Zm9udA=="}]
        assert 0 < len(viewer.pictures) <= screen.drawn


def test_screen_is_not_drawn_while_no_viewer_looks(screen: Screen) -> None:
    async def run() -> int:
        screens = LiveScreens()
        await screens.serve(cast("web.WebSocketResponse", Messages()), WORKER)
        drawn = screen.drawn
        await anyio.sleep(LOOK_S)
        assert screen.drawn == drawn
        return len(screens._feeds)

    assert anyio.run(run) == 0


def test_picture_that_has_not_changed_is_not_sent_again(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    async def draw() -> bytes:
        return b"the same"

    monkeypatch.setattr(screen, "draw", draw)
    viewer = Messages()
    serve(viewer)
    assert viewer.pictures == [b"the same"]


def test_only_keys_of_a_keyboard_are_pressed(screen: Screen) -> None:
    asked: dict[str, object] = {"keys": [["ctrl", "c"], ["quit"], "a", [["a"]], ["a"]]}
    serve(Messages("no JSON", "[]", "7", json.dumps(asked), json.dumps({"keys": "a"}), json.dumps({"execute": "quit"})))
    assert screen.pressed == [["ctrl", "c"], ["a"]]


def test_font_is_sent_again_if_the_viewer_asks(screen: Screen) -> None:
    serve(Messages(json.dumps({"font": True})))
    assert screen.fonts >= 1


def test_keys_that_are_lost_are_reported(screen: Screen) -> None:
    screen.trouble = Transient("QEMU is gone", step=Step.QMP)
    viewer = Messages(json.dumps({"keys": [["a"], ["b"]]}))
    serve(viewer)
    reported = [each["text"] for each in viewer.texts if "text" in each]
    assert len(reported) == 1
    assert "what was typed is lost: QEMU is gone" in str(reported[0])


def test_container_without_a_screen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_worker: Worker) -> Screen:
        raise Permanent("it has no screen", step=Step.SCREEN, remedy="")

    monkeypatch.setattr(live_screen, "screen_of", refuse)
    viewer = Messages()
    serve(viewer)
    assert [list(each) for each in viewer.texts] == [["error"]]


def test_end_of_the_container_closes_the_connection(screen: Screen) -> None:
    viewer = Messages()
    ended = cast("Worker", SimpleNamespace(**vars(WORKER) | {"container": SimpleNamespace(live=None)}))

    async def run() -> None:
        await LiveScreens().serve(cast("web.WebSocketResponse", viewer), ended)

    anyio.run(run)
    assert viewer.closed
    assert screen.drawn == 0
