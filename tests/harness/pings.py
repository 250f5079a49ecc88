"""Echo requests at short intervals, each with its number: as `ping -i 0.01`, without ping on the machine."""

import os
import socket
import struct
import threading
import time
from types import TracebackType

from .machine import Machine
from .waiting import eventually

EVERY_S = 0.01
ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
HEADER = struct.Struct("!BBHHH")
TIMEVAL = struct.Struct("@ll")


class Pings:
    """Use as a context manager: sends until its end, then waits for the late ones.

    `lost` are those without a reply, `doubled` those with several.
    """

    def __init__(self, machine: Machine, address: str, every_s: float = EVERY_S) -> None:
        self._address = address
        self._every_s = every_s
        self._socket = machine.namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
        self._identity = os.getpid() & 0xFFFF
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        self.sent = 0
        self.answered: set[int] = set()
        self.doubled: set[int] = set()
        self._sent_at_s: dict[int, float] = {}
        self.slowest_s = 0.0
        """The longest time from a request to its reply."""

    @property
    def lost(self) -> set[int]:
        return set(range(self.sent)) - self.answered

    def __enter__(self) -> "Pings":
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.pack(0, 100_000))
        # A guest that is moved takes no packets, and the sender waits once too many are under way.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEVAL.pack(10, 0))
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.answered, f"{self._address} answers a ping")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _send(self) -> None:
        while not self._over.wait(self._every_s):
            self._sent_at_s[self.sent] = time.monotonic()
            self._socket.sendto(_echo_request(self._identity, self.sent), (self._address, 0))
            self.sent += 1

    def _receive(self) -> None:
        silences = 0
        while not (self._over.is_set() and (silences > 20 or not self.lost)):
            try:
                packet = self._socket.recv(2048)
            except BlockingIOError:
                silences += 1
                continue
            header_bytes = (packet[0] & 0xF) * 4
            kind, _, _, identity, number = HEADER.unpack_from(packet, header_bytes)
            if (kind, identity) == (ECHO_REPLY, self._identity):
                if number in self.answered:
                    self.doubled.add(number)
                self.slowest_s = max(self.slowest_s, time.monotonic() - self._sent_at_s[number])
                self.answered.add(number)


def answers_ping(machine: Machine, address: str, timeout_s: float = 1.0) -> bool:
    """Whether one request is answered. OSError where there is no way to it, or no answer in time."""
    with machine.namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)) as ping:
        ping.settimeout(timeout_s)
        ping.connect((address, 0))
        ping.send(_echo_request(os.getpid() & 0xFFFF, 0))
        packet = ping.recv(2048)
    return packet[(packet[0] & 0xF) * 4] == ECHO_REPLY


def _echo_request(identity: int, number: int) -> bytes:
    """An ICMP echo request without data; at 100 a second its 16 bits of number last eleven minutes."""
    total = (ECHO_REQUEST << 8) + identity + number
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return HEADER.pack(ECHO_REQUEST, 0, ~total & 0xFFFF, identity, number)
