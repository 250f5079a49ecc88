"""A DNS server that a test makes in a network namespace: it answers as it is told, and remembers what it was asked."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from supervisor.core.formats import dns

from .netns import NetworkNamespace

Answer = Callable[[dns.Query], bytes | None]
POLL_S = 0.2


def addresses(*ips: str) -> Answer:
    """Answer with these IPv4 addresses."""
    return lambda query: dns.answer_addresses(query, [socket.inet_aton(ip) for ip in ips])


def failing(rcode: int) -> Answer:
    return lambda query: dns.failure(query, rcode)


def silent(_query: dns.Query) -> bytes | None:
    return None


def late(answer: Answer, delay_s: float) -> Answer:
    def answered(query: dns.Query) -> bytes | None:
        time.sleep(delay_s)
        return answer(query)

    return answered


class DnsServer:
    """Serves UDP and TCP on port 53 of an address of the namespace; `answers` are by name, others are unknown there."""

    def __init__(
        self, namespace: NetworkNamespace, address: str, answers: dict[str, Answer], *, shortens: bool = False
    ) -> None:
        """`shortens`: what is too long for UDP is cut short, as a real server does."""
        self.answers = answers
        self._shortens = shortens
        self.default: Answer = failing(dns.NXDOMAIN)
        self.asked: list[bytes] = []
        self._datagrams = namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._datagrams.bind((address, 53))
        self._listener = namespace.inside(lambda: socket.create_server((address, 53)))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._serve_datagrams, self._serve_connections)]
        for sock in (self._datagrams, self._listener):
            sock.settimeout(POLL_S)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._datagrams.close()
        self._listener.close()

    def _answer(self, message: bytes) -> bytes | None:
        self.asked.append(message)
        query = dns.parse_query(message)
        assert query is not None, f"a broken query was passed on: {message!r}"
        return self.answers.get(b".".join(query.name).decode(), self.default)(query)

    def _serve_datagrams(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                message, asker = self._datagrams.recvfrom(4096)
                answer = self._answer(message)
                query = dns.parse_query(message)
                if answer is not None and query is not None:
                    self._datagrams.sendto(dns.shorten(answer, query) if self._shortens else answer[:60000], asker)

    def _serve_connections(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5)
                    (length,) = struct.unpack("!H", connection.recv(2))
                    answer = self._answer(connection.recv(length))
                    if answer is not None:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)
