"""Docker's API over its socket, for what tests do often: a docker command uses 20 ms of processor time to start."""

import http.client
import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Docker's JSON
from urllib.parse import urlencode

from .waiting import CommandFailed

ANSWER_S = 60.0
ERRORS = 400
GONE_ALREADY = ("404", "409")
"""There is no such container; it is being removed."""
_FRAME = struct.Struct(">BxxxL")  # Docker Engine API, "Attach to a container": the stream's number and the length


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


class Engine:
    """Every failure is a CommandFailed, as that of a docker command, or an OSError if Docker does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def inspect(self, container: str) -> Any:
        return self._json("GET", f"/containers/{container}/json")

    def running(self) -> list[str]:
        return [each["Id"] for each in self._json("GET", "/containers/json")]

    def create(self, name: str, asked: Mapping[str, object]) -> str:
        """Return the new container's id. `asked` is the body of the request."""
        created: str = self._json("POST", f"/containers/create?{urlencode({'name': name})}", asked)["Id"]
        return created

    def start(self, container: str) -> None:
        self._ask("POST", f"/containers/{container}/start")

    def stop(self, container: str, timeout_s: int) -> None:
        self._ask("POST", f"/containers/{container}/stop?{urlencode({'t': timeout_s})}")

    def remove(self, container: str) -> None:
        """Kill it if it runs. One that does not exist is no error."""
        try:
            self._ask("DELETE", f"/containers/{container}?force=1&v=1")
        except CommandFailed as error:
            if not str(error).startswith(GONE_ALREADY):
                raise

    def exec(self, container: str, argv: tuple[str, ...]) -> tuple[int, str, str]:
        """Run a command in a container. Return its exit code, its output, and what it wrote to standard error."""
        asked = {"AttachStdout": True, "AttachStderr": True, "Cmd": argv}
        made = self._json("POST", f"/containers/{container}/exec", asked)["Id"]
        output, complaint = _unframed(self._ask("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False}))
        code = int(self._json("GET", f"/exec/{made}/json")["ExitCode"])
        return code, output.decode().strip(), complaint.decode().strip()

    def logs(self, container: str) -> bytes:
        """Return what the container has written to standard output."""
        log = self._ask("GET", f"/containers/{container}/logs?stdout=1")
        has_terminal: bool = self.inspect(container)["Config"]["Tty"]
        return log if has_terminal else _unframed(log)[0]

    def _json(self, method: str, path: str, body: object = None) -> Any:
        return json.loads(self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: object = None) -> bytes:
        connection = _Connection(self._path)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {type(error).__name__} {error}") from error
        finally:
            connection.close()
        if answer.status >= ERRORS:
            raise CommandFailed(f"{answer.status} {method} {path}: {content.decode(errors='replace')}")
        return content


def _unframed(stream: bytes) -> tuple[bytes, bytes]:
    """Return standard output and standard error of a stream that has both."""
    output = {1: [b""], 2: [b""]}
    at = 0
    while at < len(stream):
        number, length = _FRAME.unpack_from(stream, at)
        at += _FRAME.size
        output[number].append(stream[at : at + length])
        at += length
    return b"".join(output[1]), b"".join(output[2])
