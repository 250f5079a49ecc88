"""HTTP on the control socket: what it answers is in doors.py."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from aiohttp import web

from supervisor.api.http import served
from supervisor.api.routes import Doors
from supervisor.container.reconciler import Reconciler
from supervisor.edges import unix_sockets
from supervisor.errors import ConfigError, Permanent, Transient


@asynccontextmanager
async def serve_control(path: Path, group: str, reconciler: Reconciler) -> AsyncIterator[None]:
    """Answer on the Unix socket, for root and the group's members alone, as long as the context lasts."""
    app = web.Application()
    doors = Doors(reconciler)
    app.router.add_routes(doors.routes())
    app.on_shutdown.append(doors.close)
    listener = _listen(path, group)
    try:
        async with served(app) as factory:
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
