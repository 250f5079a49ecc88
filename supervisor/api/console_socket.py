"""One viewer of a console on the control socket: what the guest says goes out to him, what he types comes in."""

import json

import anyio
import anyio.abc
from aiohttp import WSCloseCode, WSMsgType, web

from supervisor.container.worker import Worker
from supervisor.errors import Permanent, Step
from supervisor.guest.console_hub import Audience, Farewell, Viewer

MOST_TYPED = 1 << 16
"""Bytes of one message."""
_WRITE_S = 30.0
_PART_S = 1.0
_CODES = {
    Farewell.CONTAINER_ENDED: WSCloseCode.OK,
    Farewell.DAEMON_ENDS: WSCloseCode.GOING_AWAY,
    Farewell.TOO_SLOW: WSCloseCode.POLICY_VIOLATION,
}


def audience_of(worker: Worker) -> Audience:
    """Return the console of the container's guest. Raises Permanent if it has no guest."""
    if worker.console is None:
        said = f"container {worker.name} has no guest, and no console: it is {worker.status().state}"
        raise Permanent(said, step=Step.CONSOLE, remedy="see: vtapd inspect; docker logs shows what the container says")
    return worker.console


async def converse(messages: web.WebSocketResponse, audience: Audience, *, who: str, writes: bool) -> None:
    """Until he leaves, the container ends, or he is too slow. Raises TimeoutError where he takes nothing any more."""
    writer = audience.writer
    with audience.admit(who, writes=writes) as viewer:
        if writes and not viewer.writes and writer is not None:
            viewer.put(f"{writer.who} writes already: you only watch")
        await messages.send_str(json.dumps({"writes": viewer.writes}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell, messages, viewer, tasks.cancel_scope)
            async for message in messages:
                if message.type is WSMsgType.BINARY:
                    await audience.type(viewer, message.data)
                elif message.type is WSMsgType.TEXT:  # he asks whether all before it was
                    await messages.send_str(json.dumps({"typed": True}))
            tasks.cancel_scope.cancel()


async def _tell(messages: web.WebSocketResponse, viewer: Viewer, scope: anyio.CancelScope) -> None:
    while not isinstance(item := await viewer.next(), Farewell):
        with anyio.fail_after(_WRITE_S):
            if isinstance(item, bytes):
                await messages.send_bytes(item)
            else:
                await messages.send_str(json.dumps({"text": item}))
    with anyio.move_on_after(_PART_S):
        await messages.close(code=_CODES[item], message=item.value.encode())
    scope.cancel()
