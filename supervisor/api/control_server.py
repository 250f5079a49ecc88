"""HTTP on the control socket: what it answers is in doors.py."""

import asyncio
import grp
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from aiohttp import web

from supervisor.api.http import served
from supervisor.api.routes import Doors
from supervisor.container.reconciler import Reconciler
from supervisor.errors import ConfigError

_BACKLOG = 128


@asynccontextmanager
async def serve_control(path: Path, group: str, reconciler: Reconciler) -> AsyncIterator[None]:
    """Answer on the Unix socket, for root and the group's members alone, as long as the context lasts."""
    app = web.Application()
    doors = Doors(reconciler)
    app.router.add_routes(doors.routes())
    app.on_shutdown.append(doors.close)
    listener = _bind(path, group)
    try:
        async with served(app) as factory:
            server = await asyncio.get_running_loop().create_unix_server(factory, sock=listener, backlog=_BACKLOG)
            with closing(server):
                yield
    finally:
        Path.unlink(path, missing_ok=True)


def give_to_group(path: Path, group: str) -> None:
    """Let this group's members use the socket, beside root; root alone where there is no such group."""
    os.chown(path, -1, _group_id(group))


def _bind(path: Path, group: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        path.chmod(0o660)
        give_to_group(path, group)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot bind {path}: {error}", remedy="correct [attach] run_dir") from error
    return listener


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0
