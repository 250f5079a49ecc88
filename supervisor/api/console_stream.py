"""Stream a guest's console as JSON: for `vtapd logs --follow`, which only reads."""

import codecs
import json

import anyio
from aiohttp import web

from supervisor.guest.console_hub import CloseReason, ConsoleHub
from supervisor.protocol import EVENTS_BEAT_S

_WRITE_S = 30.0


async def stream_console(request: web.Request, console: ConsoleHub) -> web.StreamResponse:
    """Send what the guest has printed and what it prints, until the console ends; each piece is an object on a line.

    `output` is the guest's, `notice` a message of vtapd about it, and `end` why nothing more comes; `complete` says
    whether it is all. An empty line shows that the daemon is there. Raises TimeoutError if the client does not read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with console.connect("a reader", writes=False) as viewer:
        before = console.recent_output
        await response.prepare(request)
        await _write(response, output=before)
        while True:
            with anyio.move_on_after(EVENTS_BEAT_S) as silent:
                item = await viewer.next()
            if silent.cancelled_caught:
                await _write(response)
            elif isinstance(item, CloseReason):
                await _write(response, end=item.value, complete=item is CloseReason.CONTAINER_ENDED)
                return response
            elif isinstance(item, bytes):
                await _write(response, output=decoder.decode(item))
            else:
                await _write(response, notice=item)


async def _write(response: web.StreamResponse, **members: str | bool) -> None:
    with anyio.fail_after(_WRITE_S):
        await response.write(json.dumps(members).encode() + b"\n" if members else b"\n")
