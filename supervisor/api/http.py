"""HTTP for clients that may be slow, silent or many: they wait for each other, and the daemon for none of them.

aiohttp sets no deadline for a request's header and no bound to the number of connections, each of which is a descriptor
that a guest's start may be short of.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

MOST_CONNECTIONS = 64
HEADER_S = 10.0
"""For the whole header of the one request that a connection is for."""
_SHUTDOWN_S = 1.0

Factory = Callable[[], asyncio.BaseProtocol]


@asynccontextmanager
async def served(app: web.Application, lifetime_s: float | None = None) -> AsyncIterator[Factory]:
    """What makes a protocol for each connection, for an asyncio server. `lifetime_s`: of a whole connection."""
    connections = _Connections(lifetime_s)
    app.middlewares.append(connections.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    server = runner.server
    assert server is not None, "the runner was set up"
    try:
        yield lambda: connections.admit(server)
    finally:
        await runner.cleanup()


class _Connections:
    def __init__(self, lifetime_s: float | None) -> None:
        self._lifetime_s = lifetime_s
        self._unheard: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        """Those whose request has not come yet, and when they are out of time."""

    def admit(self, server: web.Server) -> asyncio.BaseProtocol:
        if len(server.connections) >= MOST_CONNECTIONS:
            return _Refusal()
        handler = server()
        loop = asyncio.get_running_loop()
        self._unheard[handler] = loop.call_later(HEADER_S, self._end_unheard, handler)
        if self._lifetime_s is not None:
            loop.call_later(self._lifetime_s, end_connection, handler)
        return handler

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """One request a connection: between two there would be another wait."""
        self._unheard.pop(request.protocol).cancel()
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            refusal.force_close()
            raise
        response.force_close()
        return response

    def _end_unheard(self, handler: web.RequestHandler) -> None:
        del self._unheard[handler]
        end_connection(handler)


def end_connection(handler: web.RequestHandler) -> None:
    """At once, whatever is unread; nothing where it has ended."""
    if handler.transport is not None:
        handler.transport.abort()


class _Refusal(asyncio.Protocol):
    """Hangs up at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
