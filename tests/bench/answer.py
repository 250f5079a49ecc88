"""When a guest answers for the first time, asked as often as a busy client would."""

import socket
import time

from tests.integration.machine import Machine

DEADLINE_S, CONNECT_S, EVERY_S = 30.0, 0.05, 0.005  # a SYN that was lost is sent again after a second: better a new one


def await_answer(machine: Machine, address: str, port: int = 80) -> float:
    """The time (perf_counter) at which a GET from the machine itself was answered by 200."""

    def ask() -> float:
        until_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < until_s:
            try:
                with socket.create_connection((address, port), timeout=CONNECT_S) as asking:
                    asking.settimeout(DEADLINE_S)
                    asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if asking.recv(64).startswith(b"HTTP/1.1 200 "):
                        return time.perf_counter()
            except OSError:
                time.sleep(EVERY_S)
        raise AssertionError(f"{address}:{port} has not answered within {DEADLINE_S:g} s")

    return machine.namespace.inside(ask)
