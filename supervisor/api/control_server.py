"""Serve HTTP on the control socket, for root and one group. The routes are in routes.py."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from aiohttp import web

from supervisor.api.http import bounded_server
from supervisor.api.routes import ControlRoutes, answer_errors
from supervisor.container.reconciler import Reconciler
from supervisor.edges import unix_sockets
from supervisor.errors import ConfigError, Permanent, Transient


@asynccontextmanager
async def serve_control(path: Path, group: str, reconciler: Reconciler) -> AsyncIterator[None]:
    """Serve the Unix socket, to root and the group's members only, as long as the context lasts."""
    app = web.Application(middlewares=[answer_errors])
    control = ControlRoutes(reconciler)
    app.router.add_routes(control.routes())
    app.on_shutdown.append(control.close)
    listener = _listen(path, group)
    try:
        async with bounded_server(app) as factory:
            server = await asyncio.get_running_loop().create_unix_server(
                factory, sock=listener, backlog=unix_sockets.BACKLOG
            )
            with closing(server):
                yield
    finally:
        Path.unlink(path, missing_ok=True)


def _listen(path: Path, group: str) -> socket.socket:
    try:
        return unix_sockets.listen(path, 0o660, group)
    except (Transient, Permanent) as error:
        raise ConfigError(error.message, remedy="correct [attach] run_dir") from error
