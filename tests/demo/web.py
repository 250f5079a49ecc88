"""Requests to the guest, and free ports."""

import errno
import http.client
import socket
import time
import urllib.request

from .terminal import POLL_S, DemoError

TIMEOUT_S = 2.0
FIRST_TRY_S, GROWTH = 0.1, 1.2


def get(url: str, timeout_s: float = TIMEOUT_S) -> str:
    """Return the page's text; raises OSError if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return str(answer.read().decode(errors="replace"))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: {type(error).__name__} {error}") from error


def first_page(url: str, deadline_s: float) -> str:
    """Return the page of a server that is about to start.

    The first requests have short time-outs: TCP repeats a lost SYN only after a second, which would hide how fast the
    guest was.
    """
    until = time.monotonic() + deadline_s
    patience_s = FIRST_TRY_S
    problem = ""
    while time.monotonic() < until:
        try:
            return get(url, patience_s)
        except OSError as error:
            problem = str(error)
            if isinstance(getattr(error, "reason", error), TimeoutError):  # urllib wraps only the errors of connect
                patience_s = min(patience_s * GROWTH, TIMEOUT_S)
            else:
                time.sleep(POLL_S)
    raise DemoError(f"no page from {url} within {deadline_s:g} s: {problem}")


def port_is_free(port: int, address: str = "") -> bool:
    """Return whether a server could listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
