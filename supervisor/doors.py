"""What the control socket answers: who is meant, what is wanted of him, and errors as the commands print them."""

import json
from typing import Any

from aiohttp import web

from supervisor.errors import Permanent, Transient, VtapdError
from supervisor.orders import ORDERS
from supervisor.reconcile import Reconciler
from supervisor.views import details, summary
from supervisor.worker import Worker


class Doors:
    """One control socket."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def routes(self) -> list[web.RouteDef]:
        """For an aiohttp application."""
        return [
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

    def _found(self, request: web.Request) -> Worker:
        """Raises HTTPNotFound."""
        try:
            return self._reconciler.find(request.match_info["name"])
        except Permanent as error:
            raise web.HTTPNotFound(text=json.dumps(_shape(error)), content_type="application/json") from None


def _refusal(error: VtapdError) -> web.Response:
    return web.json_response(_shape(error), status=503 if isinstance(error, Transient) else 409)


def _shape(error: VtapdError) -> dict[str, Any]:
    return {"error": str(error)}
