"""A proxy between the daemon and Docker: it passes everything on, until a test makes it fail.

Only what a real dockerd cannot be made to do is done here: events that are lost, doubled, in another order or no JSON,
streams that are cut, a socket that is gone. All answers and events are the real daemon's.
"""

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

Mangle = Callable[[bytes], Iterable[bytes]]


def passed_on(event: bytes) -> Iterable[bytes]:
    return (event,)


class DockerProxy:
    """Answers on `host` from `open` to `close`, which may follow each other again and again."""

    def __init__(self, path: Path, dockerd: Path) -> None:
        self.host = f"unix://{path}"
        self.dockerd = dockerd
        self.mangle: Mangle = passed_on
        """Changes each event, which is one line of JSON."""
        self.requests: list[str] = []
        """The path of each, answered or not."""
        self.refuses = False
        """Every connection is closed at its first request."""
        self.hangs = False
        """As long as this is so, no request has an answer."""
        self._path = path
        self._server: _Server | None = None
        self._connections: set[socket.socket] = set()
        self._streams: set[socket.socket] = set()

    def behave(self) -> None:
        """Be there, and pass everything on."""
        self.mangle, self.refuses, self.hangs = passed_on, False, False
        if self._server is None:
            self.open()

    def open(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """The socket is gone from the file system, and every connection is cut."""
        if self._server is not None:
            self._path.unlink(missing_ok=True)
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self._cut(self._connections)

    def cut_streams(self) -> None:
        """Every event stream ends in the middle."""
        self._cut(self._streams)

    def is_followed(self) -> bool:
        return bool(self._streams)

    def connection_count(self) -> int:
        """As many as a client keeps, in use or not."""
        return len(self._connections)

    def count(self, ending: str) -> int:
        """How often a path with this ending was asked for, its query apart."""
        return sum(path.partition("?")[0].endswith(ending) for path in self.requests)

    @staticmethod
    def _cut(connections: set[socket.socket]) -> None:
        for connection in list(connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, proxy: DockerProxy) -> None:
        self.proxy = proxy
        super().__init__(path, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is what the proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `requests`."""

    def setup(self) -> None:
        super().setup()
        self.server.proxy._connections.add(self.connection)

    def finish(self) -> None:
        self.server.proxy._connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        proxy.requests.append(self.path)
        if proxy.refuses:
            self.close_connection = True
            return
        while proxy.hangs:
            time.sleep(0.05)
        upstream = _UnixConnection(proxy.dockerd)
        try:
            upstream.request(self.command, self.path)
            answer = upstream.getresponse()
            self.send_response_only(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            if "/events" in self.path:
                self._stream(answer, upstream)
            else:
                body = answer.read()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            upstream.close()

    def _stream(self, answer: http.client.HTTPResponse, upstream: "_UnixConnection") -> None:
        proxy = self.server.proxy
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        proxy._streams.add(self.connection)
        threading.Thread(target=self._end_with_client, args=(upstream.sock,), daemon=True).start()
        try:
            while event := answer.readline():
                for line in proxy.mangle(event):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        finally:
            proxy._streams.discard(self.connection)
            self.close_connection = True

    def _end_with_client(self, upstream: socket.socket) -> None:
        """A client that follows events sends nothing more; when it hangs up or is cut, so does the proxy."""
        with suppress(OSError):
            self.connection.recv(1)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))
