"""Ask the servers that a container's processes would ask, for one guest. `core.guest.name_lookup` says which they are.

A server inside that is silent has a moment before those outside are asked too: Docker's server (before version 24) says
nothing at all if it cannot reach the servers to which it passes a query on. An answer that there is no such name is
kept back for a second, because Docker's server may only be slow. Neither takes long if it is proved not to be: it has
answered another query meanwhile, which it need not pass on.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio

from supervisor.core.formats import dns
from supervisor.core.guest.name_lookup import is_definite
from supervisor.edges import dns_servers
from supervisor.errors import VtapdError
from supervisor.guest.name_sources import NameSources

_QUERY_S = 4.5
"""Less than a resolver waits before it asks again (man 5 resolv.conf: timeout)."""
_PROMPT_S, _PATIENCE_S, _PROVED_S, _NEGATIVE_S = 0.005, 0.1, 0.02, 1.0
_OUTSIDE_S, _STREAM_S = 1.5, 1.5

Enter = Callable[[Callable[[], socket.socket]], socket.socket]
"""Calls a function that opens a socket in the container's network namespace."""


class NameResolver:
    """Owns a socket to each server inside that was asked, until `close`."""

    def __init__(self, sources: NameSources, enter: Enter) -> None:
        self._sources = sources
        self._enter = enter
        self._sockets: dict[str, dns_servers.ServerSocket] = {}

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    async def ask(self, query: dns.Query, message: bytes) -> bytes | None:
        """Return the best answer over UDP, under any id; None if no server answers in time."""
        pending: list[asyncio.Future[bytes | None]] = []
        best: bytes | None = None
        is_proved = True
        began_s = anyio.current_time()
        try:
            with anyio.move_on_after(_QUERY_S):
                for server in self._inside().values():
                    pending.append(server.ask(message, query.question))
                    is_proved = await self._is_silent(server, pending[-1]) and is_proved
                    best = await _wait(pending[-1], 0) or best
                    if is_definite(best):
                        return best
                outer = await self._ask_outside(query, message)
                best = outer or best
                positive = outer is not None and is_definite(outer) and dns.has_records(outer)
                negative_s = _PROVED_S if is_proved else _NEGATIVE_S
                left_s = (negative_s if is_definite(outer) else _QUERY_S) - (anyio.current_time() - began_s)
                for each in pending:
                    late = await _wait(each, 0 if positive else left_s)
                    if is_definite(late):
                        return late
            return best
        finally:
            for each in pending:
                each.cancel()

    async def _is_silent(self, server: dns_servers.ServerSocket, answer: asyncio.Future[bytes | None]) -> bool:
        """Wait a moment for the answer, and return whether it is proved that there will be none."""
        await _wait(answer, _PROMPT_S)
        message = None if answer.done() else self._sources.proof()
        if message is None:
            await _wait(answer, _PATIENCE_S - _PROMPT_S)
            return False
        proof = server.ask(message, dns.question_of(message))
        try:
            both = (answer, proof)
            await asyncio.wait(both, timeout=_PATIENCE_S - _PROMPT_S, return_when=asyncio.FIRST_COMPLETED)
            proved = await _wait(proof, 0)
        finally:
            proof.cancel()
        if proved is None or not dns.has_records(proved):
            return False
        await _wait(answer, _PROMPT_S)
        return not answer.done()

    async def ask_by_stream(self, query: dns.Query, message: bytes) -> bytes | None:
        """Return the best answer over TCP, as `ask`."""
        best: bytes | None = None
        with anyio.move_on_after(_QUERY_S):
            outside = [(each, partial(dns_servers.open_stream, each)) for each in self._sources.outside()]
            inside = [(each, partial(self._open_stream, each)) for each in self._inside()]
            silent = await self._find_silent(query, message) if outside else []
            for server, open_socket in (*inside, *outside):
                if server in silent:
                    continue
                timeout_s = _STREAM_S if outside else _QUERY_S
                answer = await dns_servers.ask_by_stream(open_socket, server, message, query.question, timeout_s)
                best = answer or best
                if is_definite(answer):
                    break
        return best

    async def _find_silent(self, query: dns.Query, message: bytes) -> list[str]:
        """Return the servers inside that do not answer this query, by asking them over UDP too."""
        silent = []
        for server, opened in self._inside().items():
            answer = opened.ask(message, query.question)
            if await self._is_silent(opened, answer):
                silent.append(server)
            answer.cancel()
        return silent

    def _inside(self) -> dict[str, dns_servers.ServerSocket]:
        """Return the sockets to the servers that can be reached from the container's namespace now."""
        servers = self._sources.inside()
        for server, opened in list(self._sockets.items()):
            if opened.failed or server not in servers:
                self._sockets.pop(server).close()
        for server in servers:
            if server not in self._sockets:
                with suppress(OSError, VtapdError):
                    connected = self._enter(partial(dns_servers.open_connected, server))
                    self._sockets[server] = dns_servers.ServerSocket(connected)
        return {server: self._sockets[server] for server in servers if server in self._sockets}

    def _open_stream(self, server: str) -> socket.socket:
        try:
            return self._enter(partial(dns_servers.open_stream, server))
        except VtapdError as error:
            raise OSError(str(error)) from error

    async def _ask_outside(self, query: dns.Query, message: bytes) -> bytes | None:
        best: bytes | None = None
        for server in self._sources.outside():
            answer = await dns_servers.ask_once(server, message, query.question, _OUTSIDE_S)
            best = answer or best
            if is_definite(answer):
                break
        return best


async def _wait(answer: asyncio.Future[bytes | None], timeout_s: float) -> bytes | None:
    """Return the answer, or None if there is none so soon. It may still come afterwards."""
    if not answer.done():
        await asyncio.wait([answer], timeout=max(0.0, timeout_s))
    return answer.result() if answer.done() else None
