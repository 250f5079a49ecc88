"""Ask DNS servers (RFC 1035): over UDP from a socket that many queries share or from one for a single query, or TCP."""

import asyncio
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from supervisor.core.formats import dns

PORT = 53
MAX_MESSAGE_BYTES = 65535
_BATCH = 32


@dataclass(frozen=True, slots=True)
class _Flight:
    question: bytes
    answer: asyncio.Future[bytes | None]


def open_connected(server: str) -> socket.socket:
    """Return a UDP socket of this thread's network namespace.

    Raises OSError if there is no way to the server. A route is not enough: there must be a source address for it.
    """
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect((server, PORT))
        if ipaddress.ip_address(sock.getsockname()[0]).is_unspecified:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except BaseException:
        sock.close()
        raise
    return sock


def open_stream(server: str) -> socket.socket:
    """Return a TCP socket of this thread's network namespace that is not connected yet."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class ServerSocket:
    """A UDP socket, connected to one server, by which many queries are asked at the same time. Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.failed = False
        """Nothing listened where a query went. A new socket may find it: Docker translates the port, once a socket."""
        self._socket = sock
        self._flights: dict[int, _Flight] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)

    def close(self) -> None:
        """Close the socket. What is still asked has no answer."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._fail_all()

    def ask(self, message: bytes, question: bytes) -> asyncio.Future[bytes | None]:
        """Send the query under an id of its own. The result is the answer under that id, or None if there is none.

        The caller cancels the future if it waits no longer.
        """
        id = self._free_id()
        answer: asyncio.Future[bytes | None] = self._loop.create_future()
        self._flights[id] = _Flight(question, answer)
        answer.add_done_callback(lambda _: self._flights.pop(id, None))
        try:
            self._socket.send(dns.with_id(message, id))
        except OSError:
            self.failed = True
            answer.set_result(None)
        return answer

    def _free_id(self) -> int:
        """Return an id that cannot be guessed. There are far fewer queries than ids."""
        while True:
            id = int.from_bytes(os.urandom(2), "big")
            if id not in self._flights:
                return id

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                message = self._socket.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self.failed = True
                self._fail_all()
                return
            flight = self._flights.get(dns.id_of(message))
            if flight and not flight.answer.done() and dns.is_answer(message, dns.id_of(message), flight.question):
                flight.answer.set_result(message)

    def _fail_all(self) -> None:
        for flight in list(self._flights.values()):
            if not flight.answer.done():
                flight.answer.set_result(None)


async def ask_once(server: str, message: bytes, question: bytes, timeout_s: float) -> bytes | None:
    """Ask from a new socket, whose port cannot be guessed, and return the answer; None if there is none in time."""
    id = int.from_bytes(os.urandom(2), "big")
    with suppress(OSError), anyio.move_on_after(timeout_s), open_connected(server) as sock:
        sock.send(dns.with_id(message, id))
        while True:
            answer = await asyncio.get_running_loop().sock_recv(sock, MAX_MESSAGE_BYTES)
            if dns.is_answer(answer, id, question):
                return answer
    return None


async def ask_by_stream(
    open_socket: Callable[[], socket.socket], server: str, message: bytes, question: bytes, timeout_s: float
) -> bytes | None:
    """Ask over TCP and return the answer; None if there is none in time. `open_socket` is `open_stream`, somewhere."""
    loop = asyncio.get_running_loop()
    id = int.from_bytes(os.urandom(2), "big")
    with suppress(OSError), anyio.move_on_after(timeout_s), open_socket() as sock:
        await loop.sock_connect(sock, (server, PORT))
        await send_message(sock, dns.with_id(message, id))
        answer = await receive_message(sock, MAX_MESSAGE_BYTES)
        if answer is not None and dns.is_answer(answer, id, question):
            return answer
    return None


async def send_message(sock: socket.socket, message: bytes) -> None:
    """Send one message over TCP, with its length in front (RFC 1035, 4.2.2)."""
    await asyncio.get_running_loop().sock_sendall(sock, struct.pack("!H", len(message)) + message)


async def receive_message(sock: socket.socket, limit_bytes: int) -> bytes | None:
    """Return the next message over TCP; None at the end of the stream, or if it is longer than the limit."""
    head = await _receive_exactly(sock, 2)
    if head is None or int.from_bytes(head, "big") > limit_bytes:
        return None
    return await _receive_exactly(sock, int.from_bytes(head, "big"))


async def _receive_exactly(sock: socket.socket, size: int) -> bytes | None:
    loop, received = asyncio.get_running_loop(), bytearray()
    while len(received) < size:
        piece = await loop.sock_recv(sock, size - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)
