"""HTTP routes of the control socket: find the container, run the operation, map errors to responses."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import anyio
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from supervisor.api.console_socket import MAX_MESSAGE_BYTES, console_of, serve_console
from supervisor.api.console_stream import stream_console
from supervisor.api.http import end_connection
from supervisor.api.live_screen import MAX_MESSAGE_BYTES as MAX_KEYS_BYTES
from supervisor.api.live_screen import LiveScreens
from supervisor.api.representation import details, summary
from supervisor.api.screen import capture_screen
from supervisor.api.usage import UsageReport
from supervisor.container.operations import OPERATIONS, wake_if_asleep
from supervisor.container.reconciler import Reconciler
from supervisor.container.worker import Worker
from supervisor.core.container import ContainerId
from supervisor.core.report.schema import ConsoleShape, DaemonVersionShape
from supervisor.errors import Permanent, Transient, VtapdError
from supervisor.guest.console_hub import CloseReason
from supervisor.observability.event_stream import BROADCAST, Wanted
from supervisor.protocol import EVENTS_BEAT_S
from supervisor.version import program_version

MAX_FOLLOWERS = 32
"""Consoles and event streams stay open for as long as they like. This leaves connections for the commands."""
_WRITE_S = 30.0
_SILENCE_S = 60.0
"""A console's viewer that sends nothing for so long is pinged, and has half as long to answer."""
_CLOSE_S = 2.0
"""How long a connection may take to close."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 if the same request may succeed later, 409 if it cannot, 500 after a bug. The body is the message."""
    try:
        return await handler(request)
    except VtapdError as error:
        return web.json_response(_error_shape(error), status=503 if isinstance(error, Transient) else 409)
    except web.HTTPException:
        raise
    except Exception:  # whatever it is, the client gets JSON, and the daemon runs on
        log.error("request_failed", method=request.method, path=request.path, exc_info=True)
        message = "a bug in vtapd: its log has a traceback after request_failed; please report it"
        return web.json_response({"error": message}, status=500)


class ControlRoutes:
    """The routes of one control socket."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._followers: set[anyio.CancelScope] = set()
        self._usage = UsageReport()
        self._screens = LiveScreens()

    def routes(self) -> list[web.RouteDef]:
        """Return them for an aiohttp application."""
        return [
            web.get("/version", self._version),
            web.get("/events", self._events),
            web.get("/usage", self._report_usage),
            web.get("/containers", self._list),
            web.get("/containers/{name}", self._inspect),
            web.get("/containers/{name}/screen", self._screen),
            web.get("/containers/{name}/screen/live", self._live_screen),
            web.get("/containers/{name}/console", self._console),
            web.get("/containers/{name}/console/live", self._live_console),
            web.get("/containers/{name}/logs", self._logs),
            web.get("/containers/{name}/logs/follow", self._follow_logs),
            web.post(f"/containers/{{name}}/{{verb:{'|'.join(OPERATIONS)}}}", self._operate),
        ]

    async def close(self, _app: web.Application) -> None:
        """Disconnect all followers, because the daemon ends."""
        for scope in self._followers:
            scope.cancel()

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response(DaemonVersionShape(version=program_version(), pid=os.getpid()))

    async def _list(self, request: web.Request) -> web.Response:
        statuses = self._reconciler.all_statuses() if "all" in request.query else self._reconciler.statuses()
        return web.json_response([summary(status) for status in statuses])

    async def _report_usage(self, _request: web.Request) -> web.Response:
        return web.json_response(await self._usage.read(self._reconciler.statuses()))

    async def _inspect(self, request: web.Request) -> web.Response:
        container_id = self._find(request.match_info["name"])
        ended = self._reconciler.ended.of(container_id)
        if ended is not None:
            last_output = await self._reconciler.ended.last_output(container_id)
            return web.json_response(details(ended.status, last_output=last_output))
        worker = self._reconciler.workers[container_id]
        live = worker.container.live
        return web.json_response(details(worker.observe_status(), live.pending() if live is not None else None))

    async def _operate(self, request: web.Request) -> web.Response:
        worker = self._worker(request)
        await OPERATIONS[request.match_info["verb"]](worker)
        return web.json_response(summary(worker.status()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send each event as a JSON object on its own line, with `since` first those of so many seconds."""
        wanted = self._is_about(self._find(request.query["name"])) if "name" in request.query else _all
        try:
            past_s = float(request.query.get("since", 0.0))
        except ValueError as error:
            message = {"error": "since is a number of seconds"}
            raise web.HTTPBadRequest(text=json.dumps(message), content_type="application/json") from error
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        with self._following(request), BROADCAST.follow(wanted, past_s) as follower:
            await response.prepare(request)
            while True:
                line = await follower.next(EVENTS_BEAT_S)
                with anyio.fail_after(_WRITE_S):
                    await response.write(line or b"\n")
        return response

    async def _screen(self, request: web.Request) -> web.Response:
        return web.Response(body=await capture_screen(self._worker(request)), content_type="image/png")

    async def _console(self, request: web.Request) -> web.Response:
        """Return what the guest has written, and who types."""
        worker = self._worker(request)
        console = console_of(worker)
        writer = console.writer
        answer = ConsoleShape(name=worker.name, said=console.recent_output, writer=writer.who if writer else None)
        return web.json_response(answer)

    async def _logs(self, request: web.Request) -> web.Response:
        """Return what the guest has written; of a container that has ended, the end of its log."""
        ended = await self._said_by_ended(request)
        return web.json_response(ended) if ended is not None else await self._console(request)

    async def _follow_logs(self, request: web.Request) -> web.StreamResponse:
        """Send what the guest has written and writes; of a container that has ended, the end of its log."""
        ended = await self._said_by_ended(request)
        if ended is not None:
            lines = ({"output": ended["said"]}, {"end": CloseReason.CONTAINER_ENDED.value, "complete": True})
            return web.Response(text="".join(f"{json.dumps(line)}\n" for line in lines))
        console = console_of(self._worker(request))
        with self._following(request):
            return await stream_console(request, console)

    async def _said_by_ended(self, request: web.Request) -> ConsoleShape | None:
        """Return the end of the log if the container has ended; None if it runs."""
        container_id = self._find(request.match_info["name"])
        ended = self._reconciler.ended.of(container_id)
        if ended is None:
            return None
        lines = await self._reconciler.ended.last_output(container_id, None) or []
        return ConsoleShape(name=ended.name, said="".join(f"{line}\n" for line in lines), writer=None)

    async def _live_console(self, request: web.Request) -> web.StreamResponse:
        """Serve a WebSocket: output and input in binary messages, notices for people in text messages."""
        worker = self._worker(request)
        console = console_of(worker)
        messages = _web_socket(MAX_MESSAGE_BYTES)
        with self._following(request):
            async with _kept_awake(worker, "a console"):
                await messages.prepare(request)
                await serve_console(messages, console, who=_peer(request), writes="view" not in request.query)
        return messages

    async def _live_screen(self, request: web.Request) -> web.StreamResponse:
        """Serve a WebSocket: pictures in binary messages; in text messages JSON, among it the font and keys."""
        worker = self._worker(request)
        messages = _web_socket(MAX_KEYS_BYTES)
        with self._following(request):
            async with _kept_awake(worker, "a screen"):
                await messages.prepare(request)
                await self._screens.serve(messages, worker)
        return messages

    def _is_about(self, container_id: ContainerId) -> Wanted:
        """Return a filter for the container's events, through renames and restarts."""
        name = self._reconciler.name_of(container_id)

        def wanted(event: structlog.types.EventDict) -> bool:
            nonlocal name
            name = self._reconciler.name_of(container_id) or name
            return bool(event.get("container") == name)

        return wanted

    @contextmanager
    def _following(self, request: web.Request) -> Iterator[None]:
        """Count the request as a follower. Raises HTTPServiceUnavailable if there are too many."""
        if len(self._followers) >= MAX_FOLLOWERS:
            message = f"{MAX_FOLLOWERS} consoles, screens and followers of events are open already; close some"
            raise web.HTTPServiceUnavailable(text=json.dumps({"error": message}), content_type="application/json")
        with anyio.CancelScope() as scope:
            self._followers.add(scope)
            try:
                yield
            except* (ConnectionError, TimeoutError):
                pass  # the client is gone, or no longer reads
            finally:
                self._followers.discard(scope)
                asyncio.get_running_loop().call_later(_CLOSE_S, end_connection, request.protocol)

    def _worker(self, request: web.Request) -> Worker:
        """Return the worker of the container in the path. Raises HTTPNotFound, or Permanent if it has ended."""
        self._find(request.match_info["name"])
        return self._reconciler.find(request.match_info["name"])

    def _find(self, asked: str) -> ContainerId:
        try:
            return self._reconciler.find_id(asked)
        except Permanent as error:
            raise web.HTTPNotFound(text=json.dumps(_error_shape(error)), content_type="application/json") from None


@asynccontextmanager
async def _kept_awake(worker: Worker, because: str) -> AsyncIterator[None]:
    """Wake the container's guest, if it sleeps, and keep it awake while the context lasts."""
    live = worker.container.live
    with live.guest.console_hub.keeping_awake() if live is not None else nullcontext():
        await wake_if_asleep(worker, because)
        yield


def _web_socket(max_message_bytes: int) -> web.WebSocketResponse:
    return web.WebSocketResponse(heartbeat=_SILENCE_S, timeout=_CLOSE_S, max_msg_size=max_message_bytes, compress=False)


def _peer(request: web.Request) -> str:
    """Describe the process that asks (man 7 unix: SO_PEERCRED)."""
    assert request.transport is not None, "asked before anything was awaited"
    connection = request.transport.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"process {pid} of user {uid}"


def _all(_event: structlog.types.EventDict) -> bool:
    return True


def _error_shape(error: VtapdError) -> dict[str, str]:
    return {"error": str(error)}
