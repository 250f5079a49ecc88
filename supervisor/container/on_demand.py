"""Serve sockets by a task that exists only while there is something to serve.

A daemon has some services for each of hundreds of guests, and most of them are idle. A task that waits takes several
kilobytes; a descriptor that the loop watches takes almost nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
import anyio.abc
import structlog

from supervisor.errors import VtapdError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Readable(Protocol):
    """What the loop can watch, such as a socket."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class OnDemand:
    """Owns the sockets: `close` it. It ends by itself if its service fails."""

    __slots__ = ("_scope", "_serve", "_sockets", "_tasks", "ended")

    def __init__(
        self, tasks: anyio.abc.TaskGroup, sockets: Sequence[Readable], serve: Callable[[], Awaitable[None]]
    ) -> None:
        """`serve` is called when one of the sockets has something to read. It returns when there is nothing more."""
        self.ended = False
        """Whether it was closed, or has failed."""
        self._tasks = tasks
        self._sockets = sockets
        self._serve = serve
        self._scope: anyio.CancelScope | None = None
        """Of the task that serves; None while there is none."""
        self._wait()

    def close(self) -> None:
        """End it. The sockets are closed once no task uses them."""
        if self.ended:
            return
        self.ended = True
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._stop_waiting()
            self._close_sockets()

    def _wait(self) -> None:
        for each in self._sockets:
            asyncio.get_running_loop().add_reader(each, self._begin)

    def _stop_waiting(self) -> None:
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)

    def _begin(self) -> None:
        self._stop_waiting()
        self._scope = anyio.CancelScope()
        self._tasks.start_soon(self._run, self._scope)

    async def _run(self, scope: anyio.CancelScope) -> None:
        goes_on = False
        try:
            with scope:
                await self._serve()
            goes_on = not self.ended
        except (VtapdError, OSError) as error:
            log.debug("service_ended", error=str(error))  # such as one whose interface is gone
        finally:
            self._scope = None
            if goes_on:
                self._wait()
            else:
                self.ended = True
                self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
