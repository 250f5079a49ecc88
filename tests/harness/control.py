"""The daemon's control socket, asked by itself where starting the `vtapd` command would take most of a test's time."""

import http.client
import socket
from pathlib import Path

ANSWER_S = 30.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, url: str) -> tuple[int, str]:
    """Status and body. A daemon that ends before it has answered is an OSError, as one that is not there."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, url)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{method} {url}: {type(error).__name__} {error}") from error
    finally:
        connection.close()
