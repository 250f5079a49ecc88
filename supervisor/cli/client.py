"""Asks the daemon, over its control socket, on a command's behalf; and ends the command where that comes to nothing."""

import http.client
import json
import socket
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from supervisor.text import escape_controls

_TIMEOUT_S = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def url_of(name: str, *more: str) -> str:
    """Where the daemon answers for the container of this name."""
    return "/".join(("/containers", urllib.parse.quote(name, safe=""), *more))


def ask(path: Path, url: str, method: str = "GET", timeout_s: float = _TIMEOUT_S) -> Any:
    """The daemon's answer, which is JSON."""
    with _asked(path, url, method, timeout_s) as response:
        return json.loads(response.read())


def get(path: Path, url: str, timeout_s: float) -> Any | None:
    """What it answers to a GET; None where nobody answers, or not with what was asked for."""
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if response.status == 200 else None


def fetch(path: Path, url: str, timeout_s: float = _TIMEOUT_S) -> bytes:
    """The daemon's answer, whatever it is."""
    with _asked(path, url, "GET", timeout_s) as response:
        return response.read()


def follow(path: Path, url: str, timeout_s: float) -> Iterator[Any]:
    """The lines of an answer that does not end, as they come: JSON each, and empty ones within the timeout."""
    with _asked(path, url, "GET", timeout_s) as response:
        while line := response.readline():
            if line.strip():
                yield json.loads(line)


@contextmanager
def _asked(path: Path, url: str, method: str, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, url)
        response = connection.getresponse()
        if response.status != 200:
            fail(json.loads(response.read()).get("error", "refused"))
        yield response
    except (OSError, http.client.HTTPException, ValueError) as error:
        fail(unreachable(path, error))
    finally:
        connection.close()


def first_of(error: BaseException) -> BaseException:
    """The one that came first, where it is a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def unreachable(path: Path, error: BaseException) -> str:
    """What to tell where the daemon does not answer."""
    error = first_of(error)
    if isinstance(error, PermissionError):
        return f"no right to use {path}; be root or a member of group vtapd"
    return f"no vtapd answers on {path} ({error}); is it running? systemctl status vtapd"


def fail(message: str) -> NoReturn:
    """Exit with 1, and say why."""
    click.echo(f"vtapd: {escape_controls(message)}", err=True)
    sys.exit(1)
