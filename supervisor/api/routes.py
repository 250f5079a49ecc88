"""What the control socket answers: who is meant, what is wanted of him, and errors as the commands print them."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import structlog
from aiohttp import web

from supervisor.api.console_socket import MOST_TYPED, audience_of, converse
from supervisor.api.http import end_connection
from supervisor.api.representation import details, summary
from supervisor.api.screen import capture_screen
from supervisor.container.operations import OPERATIONS
from supervisor.container.reconciler import Reconciler
from supervisor.container.worker import Worker
from supervisor.core.report.schema import ConsoleShape
from supervisor.errors import Permanent, Transient, VtapdError
from supervisor.observability.event_stream import BROADCAST, Wanted
from supervisor.protocol import EVENTS_BEAT_S
from supervisor.version import program_version

MOST_FOLLOWERS = 32
"""Who stay connected for as long as they like, so that others still find a connection."""
_WRITE_S = 30.0
_SILENCE_S = 60.0
"""So long a viewer of a console may say nothing before he is asked whether he is there, and half as long then."""
_PART_S = 2.0
"""So long whoever is parted with may take to hear of it."""


class Doors:
    """One control socket."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._followers: set[anyio.CancelScope] = set()

    def routes(self) -> list[web.RouteDef]:
        """For an aiohttp application."""
        return [
            web.get("/version", self._version),
            web.get("/events", self._events),
            web.get("/containers", self._list),
            web.get("/containers/{name}", self._inspect),
            web.get("/containers/{name}/screen", self._screen),
            web.get("/containers/{name}/console", self._console),
            web.get("/containers/{name}/console/live", self._live_console),
            web.post(f"/containers/{{name}}/{{verb:{'|'.join(OPERATIONS)}}}", self._order),
        ]

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": program_version(), "pid": os.getpid()})

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response([summary(status) for status in self._reconciler.statuses()])

    async def _inspect(self, request: web.Request) -> web.Response:
        worker = self._found(request)
        return web.json_response(details(worker.status(), worker.pending()))

    async def _order(self, request: web.Request) -> web.Response:
        worker = self._found(request)
        try:
            await OPERATIONS[request.match_info["verb"]](worker)
        except (Transient, Permanent) as error:
            return _refusal(error)
        return web.json_response(summary(worker.status()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a line; an empty line now and then tells that the daemon is there."""
        wanted = self._about(self._found_by(request.query["name"])) if "name" in request.query else _all
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        with self._following(request), BROADCAST.follow(wanted) as follower:
            await response.prepare(request)
            while True:
                line = await follower.next(EVENTS_BEAT_S)
                with anyio.fail_after(_WRITE_S):
                    await response.write(line or b"\n")
        return response

    async def _screen(self, request: web.Request) -> web.Response:
        try:
            return web.Response(body=await capture_screen(self._found(request)), content_type="image/png")
        except (Transient, Permanent) as error:
            return _refusal(error)

    async def _console(self, request: web.Request) -> web.Response:
        """What was said, and who writes."""
        worker = self._found(request)
        try:
            audience = audience_of(worker)
        except Permanent as error:
            return _refusal(error)
        writer = audience.writer
        told: ConsoleShape = {
            "name": worker.name,
            "said": audience.said,
            "writer": writer.who if writer else None,
        }
        return web.json_response(told)

    async def _live_console(self, request: web.Request) -> web.StreamResponse:
        """WebSocket: output and input in binary messages, and words for people in text messages."""
        worker = self._found(request)
        try:
            audience = audience_of(worker)
        except Permanent as error:
            return _refusal(error)
        messages = web.WebSocketResponse(heartbeat=_SILENCE_S, timeout=_PART_S, max_msg_size=MOST_TYPED, compress=False)
        with self._following(request):
            await messages.prepare(request)
            await converse(messages, audience, who=_peer(request), writes="view" not in request.query)
        return messages

    def _about(self, worker: Worker) -> Wanted:
        """Of this container, whatever its name becomes, and through its restarts."""

        def wanted(event: structlog.types.EventDict) -> bool:
            return bool(event.get("container") == self._reconciler.workers.get(worker.id, worker).name)

        return wanted

    async def close(self, _app: web.Application) -> None:
        """Part with those who follow: the daemon ends."""
        for scope in self._followers:
            scope.cancel()

    @contextmanager
    def _following(self, request: web.Request) -> Iterator[None]:
        """Raises HTTPServiceUnavailable where too many do already."""
        if len(self._followers) >= MOST_FOLLOWERS:
            said = f"{MOST_FOLLOWERS} consoles and followers of events are open already; close some"
            raise web.HTTPServiceUnavailable(text=json.dumps({"error": said}), content_type="application/json")
        with anyio.CancelScope() as scope:
            self._followers.add(scope)
            try:
                yield
            except* (ConnectionError, TimeoutError):
                pass  # it went away, or takes nothing any more
            finally:
                self._followers.discard(scope)
                asyncio.get_running_loop().call_later(_PART_S, end_connection, request.protocol)

    def _found(self, request: web.Request) -> Worker:
        """Raises HTTPNotFound."""
        return self._found_by(request.match_info["name"])

    def _found_by(self, asked: str) -> Worker:
        try:
            return self._reconciler.find(asked)
        except Permanent as error:
            raise web.HTTPNotFound(text=json.dumps(_shape(error)), content_type="application/json") from None


def _peer(request: web.Request) -> str:
    """Whoever asks, as others may be told (man 7 unix: SO_PEERCRED)."""
    assert request.transport is not None, "asked before anything was awaited"
    connection = request.transport.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"process {pid} of user {uid}"


def _all(_event: structlog.types.EventDict) -> bool:
    return True


def _refusal(error: VtapdError) -> web.Response:
    return web.json_response(_shape(error), status=503 if isinstance(error, Transient) else 409)


def _shape(error: VtapdError) -> dict[str, Any]:
    return {"error": str(error)}
