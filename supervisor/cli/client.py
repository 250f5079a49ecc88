"""Control-socket client. Prints an error and exits with status 1 when a request fails.

It speaks HTTP/1.0 itself, because importing `http.client` takes as long as everything else that a command does.
"""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NoReturn  # Any: the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.protocol import CONFIG_PATH, LOCKS_DIR, RUN_DIR, SOCKET_NAME
from supervisor.text import escape_controls

_TIMEOUT_S = 10.0
_SYSTEMD_RUNS = "/run/systemd/system"
_MAX_LINE_BYTES = 65536
_AT_ONCE = 16
"""How many connections a command has at once. The daemon takes 64 in all."""


class _Response:
    """Status and body of one answer."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the status line and the header. Raises ValueError if this is not HTTP."""
        version, _, rest = stream.readline(_MAX_LINE_BYTES).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("no HTTP answer")
        self.status = int(rest.split()[0]) if rest.split() else 0
        self.stream = stream
        self._length: int | None = None
        while (line := stream.readline(_MAX_LINE_BYTES)) != b"\r\n":
            if not line:
                raise ConnectionError("the answer ends early")
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self._length = int(value)

    def read(self) -> bytes:
        """Return the whole body. Raises ConnectionError if it ends early."""
        body = self.stream.read(-1 if self._length is None else self._length)
        if self._length is not None and len(body) < self._length:
            raise ConnectionError("the answer ends early")
        return body


def find_socket(config_path: str = CONFIG_PATH, locks_dir: str = LOCKS_DIR) -> str:
    """Return the control socket's path: that of this machine's configuration, or that of the only daemon that runs.

    A file that cannot be read is not reported here: that is the daemon's part, and `vtapd check-config`'s.
    """
    try:
        with open(config_path, "rb") as file:
            import tomllib  # slow to load; only this needs it

            run_dir = tomllib.load(file)["attach"]["run_dir"]
    except (OSError, ValueError, LookupError, TypeError):
        run_dir = RUN_DIR
    path = f"{run_dir if isinstance(run_dir, str) else RUN_DIR}/{SOCKET_NAME}"
    found = [] if os.path.exists(path) else find_others(locks_dir)  # noqa: PTH110  # pathlib is slow to load
    return found[0] if len(found) == 1 else path


def find_others(locks_dir: str = LOCKS_DIR) -> list[str]:
    """Return the control sockets of all daemons that run with any configuration."""
    try:
        with os.scandir(locks_dir) as entries:
            links = [os.readlink(each) for each in entries if each.is_symlink()]  # noqa: PTH115  # pathlib is slow to load
    except OSError:
        return []
    return sorted(each for each in links if os.path.exists(each))  # noqa: PTH110  # pathlib is slow to load


def url_of(name: str, *more: str) -> str:
    """Return the URL of a container on the control socket."""
    from urllib.parse import quote  # `vtapd ps` needs none of it

    return "/".join(("/containers", quote(name, safe=""), *more))


def ask(path: str, url: str, method: str = "GET", timeout_s: float = _TIMEOUT_S) -> Any:
    """Send a request and return the JSON of its answer."""
    with _request_or_fail(path, url, method, timeout_s) as response:
        return json.loads(response.read())


def ask_each(
    path: str,
    urls: Sequence[str],
    method: str = "GET",
    timeout_s: float = _TIMEOUT_S,
    on_refusal: Callable[[str], None] | None = None,
) -> Iterator[Any | None]:
    """Send all requests at once, so that the daemon works on them together, and yield the JSON of each answer.

    A refusal is None. `on_refusal` takes its message, which otherwise is printed.
    """
    for first in range(0, len(urls), _AT_ONCE):
        try:
            with ExitStack() as opened:
                sent = [
                    opened.enter_context(_sent(path, url, method, timeout_s)) for url in urls[first : first + _AT_ONCE]
                ]
                for stream in sent:
                    response = _Response(stream)
                    answer = json.loads(response.read())
                    if response.status != 200:
                        (on_refusal or report)(_refusal(answer))
                    yield answer if response.status == 200 else None
        except (OSError, ValueError) as error:
            fail(unreachable(path, error))


def get(path: str, url: str, timeout_s: float) -> Any | None:
    """Return the JSON of the answer to a GET, or None if there is no daemon or it refuses."""
    try:
        with _request(path, url, "GET", timeout_s) as response:
            return json.loads(response.read()) if response.status == 200 else None
    except (OSError, ValueError):
        return None


def fetch(path: str, url: str, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Return the body of the answer to a GET."""
    with _request_or_fail(path, url, "GET", timeout_s) as response:
        return response.read()


def follow(path: str, url: str, timeout_s: float) -> Iterator[Any]:
    """Yield the JSON of each line of an endless answer. An empty line only shows that the daemon is alive."""
    with _request_or_fail(path, url, "GET", timeout_s) as response:
        # A line without an end is one that the daemon did not live to finish.
        while (line := response.stream.readline()).endswith(b"\n"):
            if line.strip():
                yield json.loads(line)


@contextmanager
def _request_or_fail(path: str, url: str, method: str, timeout_s: float) -> Iterator[_Response]:
    try:
        with _request(path, url, method, timeout_s) as response:
            if response.status != 200:
                fail(_refusal(json.loads(response.read())))
            yield response
    except (OSError, ValueError) as error:
        fail(unreachable(path, error))


def _refusal(answer: Any) -> str:
    return str(answer.get("error", "refused")) if isinstance(answer, dict) else "refused"


@contextmanager
def _request(path: str, url: str, method: str, timeout_s: float) -> Iterator[_Response]:
    with _sent(path, url, method, timeout_s) as stream:
        yield _Response(stream)


@contextmanager
def _sent(path: str, url: str, method: str, timeout_s: float) -> Iterator[BinaryIO]:
    """Send a request, and yield what is read from then on. HTTP/1.0: the answer ends with the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(f"{method} {url} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            yield stream


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def unreachable(path: str, error: BaseException) -> str:
    """Return the message for a daemon that does not answer: why, and what to do."""
    error = first_of(error)
    if isinstance(error, PermissionError):
        return f"permission denied on {path}: be root, or a member of group {_group_of(path)}"
    why = error.strerror or error if isinstance(error, OSError) else error
    see = "systemctl status vtapd" if os.path.exists(_SYSTEMD_RUNS) else "vtapd check"  # noqa: PTH110  # pathlib is slow to load
    message = f"no vtapd answers on {path} ({why}); is it running? {see}"
    others = [each for each in find_others() if each != path]
    return f"{message}; others run: {' '.join(f'--socket {each}' for each in others)}" if others else message


def _group_of(path: str) -> str:
    """Return the name of the group that may use the socket."""
    import grp  # slow to load; only this needs it

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116  # pathlib is slow to load
    except (OSError, KeyError):  # its folder is closed to this user
        return "vtapd"


def fail(message: str) -> NoReturn:
    """Print the message on standard error and exit with status 1."""
    report(message)
    sys.exit(1)


def report(message: str) -> None:
    """Print the message of something that failed on standard error."""
    click.echo(f"vtapd: {escape_controls(message)}", err=True)
