"""HTTP on the control socket, for `vtapd ps`, `vtapd inspect` and their like."""

import asyncio
import grp
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from aiohttp import web

from supervisor.errors import ConfigError, Transient
from supervisor.metrics import program_version
from supervisor.reconcile import Reconciler
from supervisor.serving import served
from supervisor.views import details, summary

_BACKLOG = 128


@asynccontextmanager
async def serve_control(path: Path, group: str, reconciler: Reconciler) -> AsyncIterator[None]:
    """Answer on the Unix socket, for root and the group's members alone, as long as the context lasts."""
    app = web.Application()

    async def containers(_request: web.Request) -> web.Response:
        workers = sorted(reconciler.workers.values(), key=lambda w: w.name)
        return web.json_response([summary(worker) for worker in workers if worker.container is not None])

    async def container(request: web.Request) -> web.Response:
        worker = reconciler.find(request.match_info["name"])
        if worker is None:
            return web.json_response({"error": "no such container runs"}, status=404)
        return web.json_response(details(worker))

    async def set_detached(request: web.Request) -> web.Response:
        worker = reconciler.find(request.match_info["name"])
        if worker is None:
            return web.json_response({"error": "no such container runs"}, status=404)
        try:
            await worker.set_detached(request.match_info["verb"] == "detach")
        except Transient as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.json_response(summary(worker))

    async def version(_request: web.Request) -> web.Response:
        return web.json_response({"version": program_version(), "pid": os.getpid()})

    app.router.add_get("/version", version)
    app.router.add_get("/containers", containers)
    app.router.add_get("/containers/{name}", container)
    app.router.add_post("/containers/{name}/{verb:detach|attach}", set_detached)
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
