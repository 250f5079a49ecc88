"""HTTP routes of the status page. They only read, and each answer says what a browser may do with it.

The page's one script and one style are allowed by their hashes, so no text from a container can become either. The
browser refuses to turn text into HTML at all (Trusted Types).
"""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from supervisor.api.status_page import PAGE, StatusPage
from supervisor.core.report.host_header import is_own_host
from supervisor.errors import Transient, VtapdError

Handler = Callable[[web.Request], Awaitable[web.Response]]


def _hash(element: str) -> str:
    """Return the hash of the page's one such element, as a Content-Security-Policy has it (CSP3, hash-source)."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


HEADERS = {
    "Content-Security-Policy": "; ".join((
        "default-src 'none'",
        f"script-src {_hash('script')}",
        f"style-src {_hash('style')}",
        "img-src 'self' data:",  # the icon
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}  # fmt: skip
_OTHER_SITES = ("cross-site", "same-site")
"""What a browser says of a request that another page made (Fetch Metadata). Ports of one host are the same site."""


class StatusRoutes:
    """The routes of one status page. aiohttp answers 405 to other methods than GET and HEAD."""

    def __init__(self, page: StatusPage) -> None:
        self._page = page

    def routes(self) -> list[web.RouteDef]:
        """Return them for an aiohttp application."""
        return [
            web.get("/", self._guarded(self._html, linked=True)),
            web.get("/status.json", self._guarded(self._json)),
            web.get("/containers/{name}/console.txt", self._guarded(self._console)),
            web.get("/containers/{name}/screen.png", self._guarded(self._screen)),
        ]

    def _guarded(self, handler: Handler, *, linked: bool = False) -> Handler:
        """Refuse requests that another web site makes through a browser. `linked`: other pages may link to it."""

        async def answer(request: web.Request) -> web.Response:
            response = await self._refuse_or(handler, request, linked)
            response.headers.update(HEADERS)
            return response

        return answer

    async def _refuse_or(self, handler: Handler, request: web.Request, linked: bool) -> web.Response:
        if not is_own_host(request.headers.get(hdrs.HOST, ""), self._page.names):
            own = " or ".join(("its address", "localhost", *self._page.names[:1]))
            return web.Response(status=421, text=f"this is not the machine's name; ask for the page by {own}\n")
        if not linked and request.headers.get("Sec-Fetch-Site") in _OTHER_SITES:
            return web.Response(status=403, text="another web page asked for this; open the status page itself\n")
        try:
            return await handler(request)
        except VtapdError as error:
            return web.Response(status=503 if isinstance(error, Transient) else 404, text=f"{error}\n")

    async def _html(self, _request: web.Request) -> web.Response:
        return web.Response(text=await self._page.html(), content_type="text/html")

    async def _json(self, request: web.Request) -> web.Response:
        page = await self._page.json(also_ended="all" in request.query)
        return web.Response(body=page, content_type="application/json")

    async def _console(self, request: web.Request) -> web.Response:
        return web.Response(text=await self._page.console(request.match_info["name"]))

    async def _screen(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._page.screen(request.match_info["name"]), content_type="image/png")
