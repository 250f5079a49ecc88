"""Limit what slow, silent or many HTTP clients can take from the daemon.

aiohttp sets no deadline for a request's header and does not limit the number of connections. Each connection is a
descriptor, which the start of a guest may then lack.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

MAX_CONNECTIONS = 64
HEADER_S = 10.0
"""Deadline for the header of a connection's only request."""
_SHUTDOWN_S = 1.0

Factory = Callable[[], asyncio.BaseProtocol]


@asynccontextmanager
async def bounded_server(app: web.Application, lifetime_s: float | None = None) -> AsyncIterator[Factory]:
    """Yield the protocol factory for an asyncio server. `lifetime_s` limits a whole connection."""
    connections = _Connections(lifetime_s)
    app.middlewares.insert(0, connections.close_after)  # outermost: it sees the answers to errors, too
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
        self._waiting: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        """Connections whose request has not come yet, each with its timer."""
        self._accepted: set[web.RequestHandler] = set()
        """Connections that the server may not know yet."""

    def admit(self, server: web.Server) -> asyncio.BaseProtocol:
        """Return the protocol of a connection that was just accepted. asyncio accepts many before it serves the first.

        asyncio makes the transport right after this call, and schedules `connection_made`, by which the server learns
        of the connection. Callbacks run in their order: two rounds of the loop later the server knows it.
        """
        if len(self._accepted.union(server.connections)) >= MAX_CONNECTIONS:
            return _Rejection()
        handler = server()
        loop = asyncio.get_running_loop()
        self._accepted.add(handler)
        loop.call_soon(loop.call_soon, self._accepted.discard, handler)
        self._waiting[handler] = loop.call_later(HEADER_S, self._end_waiting, handler)
        if self._lifetime_s is not None:
            loop.call_later(self._lifetime_s, end_connection, handler)
        return handler

    @web.middleware
    async def close_after(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Close the connection after its first request: a wait for a second one would need a deadline, too."""
        self._waiting.pop(request.protocol).cancel()
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.force_close()
            raise
        response.force_close()
        return response

    def _end_waiting(self, handler: web.RequestHandler) -> None:
        del self._waiting[handler]
        end_connection(handler)


def end_connection(handler: web.RequestHandler) -> None:
    """Close it at once, whatever is unread. Does nothing if it is closed."""
    if handler.transport is not None:
        handler.transport.abort()


class _Rejection(asyncio.Protocol):
    """Closes the connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
