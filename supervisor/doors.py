"""What the control socket answers: who is meant, what is wanted of him, and errors as the commands print them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import structlog
from aiohttp import web

from supervisor.errors import Permanent, Transient, VtapdError
from supervisor.events import BROADCAST, Wanted
from supervisor.orders import ORDERS
from supervisor.reconcile import Reconciler
from supervisor.views import details, summary
from supervisor.worker import Worker

MOST_FOLLOWERS = 32
"""Who stay connected for as long as they like, so that others still find a connection."""
BEAT_S = 10.0
"""So often at the least a follower hears something, or is found to be gone."""
_WRITE_S = 30.0


class Doors:
    """One control socket."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._followers: set[anyio.CancelScope] = set()

    def routes(self) -> list[web.RouteDef]:
        """For an aiohttp application."""
        return [
            web.get("/events", self._events),
            web.get("/containers", self._list),
            web.get("/containers/{name}", self._inspect),
            web.post(f"/containers/{{name}}/{{verb:{'|'.join(ORDERS)}}}", self._order),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        workers = sorted(self._reconciler.workers.values(), key=lambda w: w.name)
        return web.json_response([summary(worker) for worker in workers if worker.container is not None])

    async def _inspect(self, request: web.Request) -> web.Response:
        return web.json_response(details(self._found(request)))

    async def _order(self, request: web.Request) -> web.Response:
        worker = self._found(request)
        try:
            await ORDERS[request.match_info["verb"]](worker)
        except (Transient, Permanent) as error:
            return _refusal(error)
        return web.json_response(summary(worker))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a line; an empty line now and then tells that the daemon is there."""
        wanted = self._about(self._found_by(request.query["name"])) if "name" in request.query else _all
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        with self._following(), BROADCAST.follow(wanted) as follower:
            await response.prepare(request)
            while True:
                line = await follower.next(BEAT_S)
                with anyio.fail_after(_WRITE_S):
                    await response.write(line or b"\n")
        return response

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
    def _following(self) -> Iterator[None]:
        """Raises HTTPServiceUnavailable where too many do already."""
        if len(self._followers) >= MOST_FOLLOWERS:
            said = f"{MOST_FOLLOWERS} consoles and followers of events are open already; close some"
            raise web.HTTPServiceUnavailable(text=json.dumps({"error": said}), content_type="application/json")
        with anyio.CancelScope() as scope:
            self._followers.add(scope)
            try:
                yield
            except (ConnectionError, TimeoutError):
                return  # it went away, or takes nothing any more
            finally:
                self._followers.discard(scope)

    def _found(self, request: web.Request) -> Worker:
        """Raises HTTPNotFound."""
        return self._found_by(request.match_info["name"])

    def _found_by(self, asked: str) -> Worker:
        try:
            return self._reconciler.find(asked)
        except Permanent as error:
            raise web.HTTPNotFound(text=json.dumps(_shape(error)), content_type="application/json") from None


def _all(_event: structlog.types.EventDict) -> bool:
    return True


def _refusal(error: VtapdError) -> web.Response:
    return web.json_response(_shape(error), status=503 if isinstance(error, Transient) else 409)


def _shape(error: VtapdError) -> dict[str, Any]:
    return {"error": str(error)}
