"""Serve what Prometheus scrapes, and the status page, on an address that may change while the daemon runs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import hdrs, web

from supervisor.api.http import Factory, bounded_server
from supervisor.api.metrics_page import Page
from supervisor.api.status_page import StatusPage
from supervisor.api.status_routes import StatusRoutes
from supervisor.config import Config
from supervisor.errors import ConfigError, Transient

_BACKLOG = 128
_SCRAPE_S = 30.0


class MetricsServer:
    """Listens on at most one address at a time."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._server: asyncio.Server | None = None

    async def listen(self, config: Config) -> asyncio.Server | None:
        """Listen on the configured address, too; None if there is none. The caller owns it until `switch_to`."""
        address = config.metrics_address
        if address is None:
            return None
        try:
            return await asyncio.get_running_loop().create_server(self._factory, *address, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {config.metrics.listen}: {os.strerror(error.errno or 0)}",
                remedy="choose another address in [metrics] listen",
            ) from error

    def switch_to(self, server: asyncio.Server | None) -> None:
        """Listen on this server alone, and close the one before."""
        if self._server is not None:
            self._server.close()
        self._server = server


@asynccontextmanager
async def serve_metrics(config: Config, page: Page, status: StatusPage) -> AsyncIterator[MetricsServer]:
    """Serve /metrics and the status page over TCP, if the configuration has an address, as long as the context lasts.

    A scrape may name the machine as it likes. The status page is for browsers, and looks at `Host`.
    """

    async def metrics(request: web.Request) -> web.Response:
        asked = request.headers
        try:
            body, headers = await page.render(asked.get(hdrs.ACCEPT, ""), asked.get(hdrs.ACCEPT_ENCODING, ""))
        except Transient as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_routes(StatusRoutes(status).routes())
    async with bounded_server(app, _SCRAPE_S) as factory:
        server = MetricsServer(factory)
        server.switch_to(await server.listen(config))
        try:
            yield server
        finally:
            server.switch_to(None)
