"""The time of a guest's first answer, with as many requests as a busy client sends."""

import select
import socket
import time
from contextlib import ExitStack, suppress

from tests.harness.machine import Machine

DEADLINE_S, EVERY_S = 30.0, 0.01
MOST_ASKED = 10
"""Connections attempted at once. A lost packet is sent again only after a second, so waiting for one would be slow."""


def await_answer(machine: Machine, address: str, port: int = 80) -> float:
    """Return the time (perf_counter) at which the machine itself got status 200 for a GET."""

    def ask() -> float:
        until_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < until_s:
            with suppress(OSError), _first_connected(address, port, until_s) as asking:
                asking.settimeout(DEADLINE_S)
                asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if asking.recv(64).startswith(b"HTTP/1.1 200 "):
                    return time.perf_counter()
        raise AssertionError(f"{address}:{port} has not answered within {DEADLINE_S:g} s")

    return machine.namespace.inside(ask)


def _first_connected(address: str, port: int, until_s: float) -> socket.socket:
    """Try a new connection every few milliseconds, and return the first. Raises TimeoutError at the deadline."""
    with ExitStack() as owned:
        poll, asked = select.poll(), dict[int, socket.socket]()
        owned.callback(_close_all, asked)
        while time.monotonic() < until_s:
            asking = socket.socket()
            asked[asking.fileno()] = asking
            asking.setblocking(False)
            asking.connect_ex((address, port))
            poll.register(asking, select.POLLOUT)
            if len(asked) > MOST_ASKED:
                _give_up(poll, asked, next(iter(asked)))
            again_s = time.monotonic() + EVERY_S
            while (left_s := again_s - time.monotonic()) > 0:
                for number, _ in poll.poll(left_s * 1000):
                    if asked[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                        poll.unregister(number)
                        asked[number].setblocking(True)
                        return asked.pop(number)
                    _give_up(poll, asked, number)
    raise TimeoutError(f"{address}:{port} was not reached")


def _close_all(asked: dict[int, socket.socket]) -> None:
    for each in asked.values():
        each.close()


def _give_up(poll: select.poll, asked: dict[int, socket.socket], number: int) -> None:
    poll.unregister(number)
    asked.pop(number).close()
