"""Serve one viewer of a guest's console over a WebSocket: the guest's output, and the viewer's input."""

import json

import anyio
import anyio.abc
from aiohttp import WSCloseCode, WSMsgType, web

from supervisor.container.worker import Worker
from supervisor.errors import Permanent, Step
from supervisor.guest.console_hub import CloseReason, ConsoleHub, Viewer

MAX_MESSAGE_BYTES = 1 << 16
_WRITE_S = 30.0
_CLOSE_S = 1.0
_CODES = {
    CloseReason.CONTAINER_ENDED: WSCloseCode.OK,
    CloseReason.DAEMON_ENDS: WSCloseCode.GOING_AWAY,
    CloseReason.TOO_SLOW: WSCloseCode.POLICY_VIOLATION,
}


def console_of(worker: Worker) -> ConsoleHub:
    """Return the console of the container's guest. Raises Permanent if it has no guest."""
    live = worker.container.live
    if live is None or live.console is None:
        message = f"container {worker.name} has no guest, and no console: it is {worker.status().state}"
        remedy = "see: vtapd inspect; docker logs shows what the container says"
        raise Permanent(message, step=Step.CONSOLE, remedy=remedy)
    return live.console


async def serve_console(messages: web.WebSocketResponse, console: ConsoleHub, *, who: str, writes: bool) -> None:
    """Serve the viewer until it leaves, the container ends, or it is too slow.

    Raises TimeoutError if the viewer no longer reads.
    """
    writer = console.writer
    with console.connect(who, writes=writes) as viewer:
        if writes and not viewer.writes and writer is not None:
            viewer.put(f"{writer.who} writes already: you only watch")
        await messages.send_str(json.dumps({"writes": viewer.writes}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send, messages, viewer, tasks.cancel_scope)
            async for message in messages:
                if message.type is WSMsgType.BINARY:
                    await console.type(viewer, message.data)
                elif message.type is WSMsgType.TEXT:  # the client asks whether all input before it was typed
                    await messages.send_str(json.dumps({"typed": True}))
            tasks.cancel_scope.cancel()


async def _send(messages: web.WebSocketResponse, viewer: Viewer, scope: anyio.CancelScope) -> None:
    while not isinstance(item := await viewer.next(), CloseReason):
        with anyio.fail_after(_WRITE_S):
            if isinstance(item, bytes):
                await messages.send_bytes(item)
            else:
                await messages.send_str(json.dumps({"text": item}))
    with anyio.move_on_after(_CLOSE_S):
        await messages.close(code=_CODES[item], message=item.value.encode())
    scope.cancel()
