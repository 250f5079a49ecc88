"""Answer a guest's DNS queries on the private link, over UDP and TCP. Nothing of a query is kept, or logged.

A guest that floods it is read more slowly, and the kernel drops what does not fit into the socket: so another guest's
queries are answered as before.
"""

import socket
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing, suppress

import anyio
import anyio.abc

from supervisor.core.formats import dns
from supervisor.core.guest.name_lookup import Bucket, Places, QueryResult, answer_from_hosts, is_definite
from supervisor.edges import dns_servers
from supervisor.edges.kernel.link_sockets import NameSockets
from supervisor.guest.name_resolver import NameResolver
from supervisor.guest.name_sources import NameSources

MOST_IN_FLIGHT = 1024
"""Of all guests together."""
_MOST_OF_ONE, _MOST_CONNECTIONS = 128, 8
_PER_S, _BURST, _REST_S = 2000.0, 500.0, 0.01
_BATCH = 16
"""How many queries of one guest are read before the other guests have their turn."""
_IDLE_S, _SHORTAGE_S = 10.0, 1.0

Asker = tuple[str, int]


class NameServer:
    """Owns the sources and the resolver from the moment that it runs. The sockets stay the caller's."""

    def __init__(
        self,
        sockets: NameSockets,
        sources: NameSources,
        resolver: NameResolver,
        places: Places,
        guests: Callable[[], Collection[str]],
        counts: Counter[str],
    ) -> None:
        """`guests` returns the guest's addresses: no one else is answered. `counts` has the number of each result."""
        self._sockets = sockets
        self._sources = sources
        self._resolver = resolver
        self._places = places
        self._guests = guests
        self._counts = counts
        self._bucket = Bucket(_PER_S, _BURST)
        self._in_flight = 0
        self._connections = 0
        self._was_asked = True

    async def run(self) -> None:
        """Serve until nothing was asked for a while."""
        with closing(self._sources), closing(self._resolver):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve_datagrams, tasks)
                tasks.start_soon(self._serve_connections, tasks)
                while self._is_busy():  # noqa: ASYNC110  # only while queries come, to see when they end
                    await anyio.sleep(_IDLE_S)
                tasks.cancel_scope.cancel()

    def _is_busy(self) -> bool:
        """Return whether there was a query since the last call, or one is being answered."""
        was_asked, self._was_asked = self._was_asked, False
        return was_asked or self._in_flight > 0 or self._connections > 0

    async def _serve_datagrams(self, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(self._sockets.datagrams)
            self._was_asked = True
            for _ in range(_BATCH):
                try:
                    message, asker = self._sockets.datagrams.recvfrom(dns.MAX_QUERY_BYTES + 1)
                except OSError:  # none is left, or an answer did not arrive
                    break
                self._take(tasks, message, asker)
                await self._slow_down()

    def _take(self, tasks: anyio.abc.TaskGroup, message: bytes, asker: Asker) -> None:
        if asker[0] not in self._guests():
            return
        query = dns.parse_query(message)
        if query is None:
            self._count(QueryResult.MALFORMED)
            self._send(dns.format_error(message), asker)
        elif (known := answer_from_hosts(query, self._sources.hosts())) is not None:
            self._count(QueryResult.HOSTS)
            self._send(dns.shorten(known, query), asker)
        elif self._begin():
            tasks.start_soon(self._answer, query, message, asker)

    async def _answer(self, query: dns.Query, message: bytes, asker: Asker) -> None:
        try:
            answer = self._judge(query, await self._resolver.ask(query, message))
            self._send(dns.shorten(answer, query), asker)
        finally:
            self._end()

    def _send(self, answer: bytes | None, asker: Asker) -> None:
        with suppress(OSError):  # it is lost, as on any network
            if answer is not None:
                self._sockets.datagrams.sendto(answer, asker)

    async def _serve_connections(self, tasks: anyio.abc.TaskGroup) -> None:
        listener = self._sockets.listener
        while True:
            await anyio.wait_readable(listener)
            self._was_asked = True
            try:
                connection, asker = listener.accept()
            except BlockingIOError:
                continue
            except OSError:  # no descriptors are left; or it is closed again, which costs a pause too
                await anyio.sleep(_SHORTAGE_S)
                continue
            connection.setblocking(False)
            if asker[0] in self._guests() and self._connections < _MOST_CONNECTIONS:
                self._connections += 1
                tasks.start_soon(self._serve_connection, connection)
            else:
                connection.close()

    async def _serve_connection(self, connection: socket.socket) -> None:
        try:
            with closing(connection), suppress(OSError):
                while (answer := await self._answer_next(connection)) is not None:
                    with anyio.fail_after(_IDLE_S):  # it may not read them
                        await dns_servers.send_message(connection, answer)
                    await self._slow_down()
        finally:
            self._connections -= 1

    async def _answer_next(self, connection: socket.socket) -> bytes | None:
        """Return the answer to the next query of a connection; None if it is to be closed."""
        message = None
        with anyio.move_on_after(_IDLE_S):
            message = await dns_servers.receive_message(connection, dns.MAX_QUERY_BYTES)
        if message is None:
            return None
        query = dns.parse_query(message)
        if query is None:
            self._count(QueryResult.MALFORMED)
            return dns.format_error(message)
        known = answer_from_hosts(query, self._sources.hosts())
        if known is not None:
            self._count(QueryResult.HOSTS)
            return known
        if not self._begin():
            return None
        try:
            return self._judge(query, await self._resolver.ask_by_stream(query, message))
        finally:
            self._end()

    def _judge(self, query: dns.Query, answer: bytes | None) -> bytes:
        """Count the result, and return the answer for the guest."""
        self._count(QueryResult.ANSWERED if is_definite(answer) else QueryResult.FAILED)
        return dns.failure(query, dns.SERVFAIL) if answer is None else dns.with_id(answer, query.id)

    def _begin(self) -> bool:
        """Take a place for a query. Returns False, and counts it, if there is none: its resolver asks again."""
        if self._in_flight >= _MOST_OF_ONE or not self._places.take():
            self._count(QueryResult.DROPPED)
            return False
        self._in_flight += 1
        return True

    def _end(self) -> None:
        self._in_flight -= 1
        self._places.give_back()

    def _count(self, result: QueryResult) -> None:
        self._counts[result.value] += 1

    async def _slow_down(self) -> None:
        """Rest, if the guest asks faster than it may."""
        if self._bucket.wait_s(anyio.current_time()):
            await anyio.sleep(_REST_S)
