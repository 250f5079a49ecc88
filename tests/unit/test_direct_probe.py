"""Probes from the host, against servers on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server

import anyio
import pytest

from supervisor.edges.probes import direct

TIMEOUT_S = 0.5


@contextmanager
def server(answer: bytes | None, clients: list[int]) -> Iterator[int]:
    """Serve one connection, and note its client's port. None: say nothing, and keep it open."""
    with create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, client = listening.accept()
            clients.append(client[1])
            with connection:
                if answer is None:
                    done.wait(10)
                else:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        done.set()
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 500 \r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"HTTP/1.1 2" + b"0" * 10_000, False),
        (b"", False),
        (None, False),
    ],
)
def test_http_needs_an_answer_of_success(answer: bytes | None, verdict: bool) -> None:
    announced: list[int] = []
    clients: list[int] = []
    with server(answer, clients) as port:
        assert anyio.run(direct.answers_http, "127.0.0.1", port, "/", TIMEOUT_S, announced.append) is verdict
    assert announced == clients


def test_http_without_a_server_is_no_answer() -> None:
    """Then the guest may be asked in another way; one that accepts and is silent must not be."""
    with create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    announced: list[int] = []
    assert anyio.run(direct.answers_http, "127.0.0.1", port, "/", TIMEOUT_S, announced.append) is None
    assert len(announced) == 1
