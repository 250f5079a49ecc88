"""Ask for a pass when a link of a container changes, while one of its interfaces can have no macvtap.

It is a port of a bridge, for example. The kernel reports when that ends.
"""

from collections.abc import Callable
from contextlib import closing

import anyio
import anyio.abc
import structlog

from supervisor.core.container import Pid
from supervisor.edges.kernel import netns
from supervisor.edges.kernel.link_events import LinkChanges
from supervisor.errors import VtapdError

_PAUSE_S = 0.5
"""How long changes are collected: a container can make thousands of them."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PortWatch:
    """`start` and `close` it as often as needed."""

    def __init__(self, mark: Callable[[], None], tasks: anyio.abc.TaskGroup) -> None:
        """`mark` is called if the container needs another pass."""
        self._mark = mark
        self._tasks = tasks
        self._scope: anyio.CancelScope | None = None

    def start(self, init: Pid) -> None:
        """Watch from now on, unless it does. `init`: a process of the container."""
        if self._scope is not None:
            return
        try:
            changes = LinkChanges(netns.open_netlink(init))
        except (VtapdError, OSError) as error:
            log.debug("links_not_watched", error=str(error))
            return
        self._scope = anyio.CancelScope()
        self._tasks.start_soon(self._run, self._scope, changes)

    def close(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None

    async def _run(self, scope: anyio.CancelScope, changes: LinkChanges) -> None:
        with closing(changes), scope:
            self._mark()  # for what changed before there was a socket
            while True:
                await anyio.wait_readable(changes.fileno())
                changes.drain()
                self._mark()
                await anyio.sleep(_PAUSE_S)
