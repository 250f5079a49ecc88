"""A guest's serial console: where QEMU writes it for `docker logs`, and how the daemon reads along and types."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import UNIXSocketStream

from supervisor.core.model import Pid

_CHUNK_BYTES = 65536
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt: Unix98 PTY slaves


def open_log(pid: Pid) -> int | None:
    """The container's standard output for writing, or None when it is nothing that a log driver reads.

    The caller owns the descriptor. Only a pipe or a terminal is opened: /proc/<pid>/fd/1 may be whatever the container
    made of it, and opening a device or a FIFO can have effects of its own.
    """
    try:
        pinned = os.open(f"/proc/{pid}/fd/1", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(pinned)
        terminal = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTS_MAJORS
        if not (terminal or stat.S_ISFIFO(status.st_mode)):
            return None
        # O_NONBLOCK: a FIFO that nobody reads answers ENXIO and does not wait.
        log = os.open(f"/proc/self/fd/{pinned}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(log, True)
        return log
    except OSError:
        return None
    finally:
        os.close(pinned)


class Console:
    """A connection to it. QEMU serves one at a time: this is the daemon's, for as long as the guest lives."""

    def __init__(self, stream: UNIXSocketStream) -> None:
        self._stream = stream

    async def said(self) -> AsyncIterator[bytes]:
        """What the guest prints from now on, until QEMU ends."""
        while True:
            try:
                yield await self._stream.receive(_CHUNK_BYTES)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async def type(self, data: bytes) -> None:
        """Have the guest read this. Takes as long as the guest leaves it unread; nothing where QEMU has ended."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send(data)


@asynccontextmanager
async def connect_console(path: Path) -> AsyncIterator[Console | None]:
    """None where the socket cannot be reached."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        connection.connect(os.fspath(path))  # at once, or never; anyio.connect_unix needs a thread
    except OSError:
        connection.close()
        yield None
        return
    async with await UNIXSocketStream.from_socket(connection) as stream:
        yield Console(stream)
